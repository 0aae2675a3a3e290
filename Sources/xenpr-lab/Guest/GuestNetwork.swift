/// How a guest gets its address: from the kernel's command line (`xenpr.address=10.97.0.3/24`), whatever the network card is.
enum GuestNetwork {
    static let script = """
        #!/bin/sh
        # Gives the first network card the address of xenpr.address= on the kernel's command line.
        for word in $(cat /proc/cmdline); do
            case $word in xenpr.address=*) address=${word#xenpr.address=} ;; esac
        done
        [ -n "$address" ] || exit 0
        tries=0
        until [ -e /sys/class/net/eth0 ]; do
            tries=$((tries + 1))
            [ $tries -lt 300 ] || { echo "no network card eth0"; exit 1; }
            sleep 0.1
        done
        ip address add "$address" dev eth0
        ip link set eth0 up

        """

    static let unit = """
        [Unit]
        Description=Address of the XenPR lab's network
        DefaultDependencies=no
        After=systemd-modules-load.service
        Before=network.target ssh.service
        Wants=network.target

        [Service]
        Type=oneshot
        RemainAfterExit=yes
        ExecStart=/usr/lib/xenpr-lab/network

        """
}
