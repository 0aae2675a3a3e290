/// How a guest gets the lab's kernel modules, and its address: from the kernel's command line (`xenpr.address=10.97.0.3/24`), whatever the network card is.
enum GuestNetwork {
    static let script = """
        #!/bin/sh
        # Loads the lab's modules and gives the first network card the address of xenpr.address= on the kernel's command line.
        # Not by modules-load.d: systemd's program for that is in a package of its own since Debian 14.
        modprobe -a $(cat /usr/lib/xenpr-lab/modules)
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
        Before=network.target ssh.service
        Wants=network.target

        [Service]
        Type=oneshot
        RemainAfterExit=yes
        ExecStart=/usr/lib/xenpr-lab/network

        """
}
