# XenPR. make demo: the main job, shown. make test: everything CI runs. Guests and downloads are cached in ~/.cache/xenpr.

# What a fresh Debian 12 needs beside the Swift toolchain.
PACKAGES = build-essential pkg-config libxen-dev zlib1g-dev liblzo2-dev libsnappy-dev libzstd-dev libsqlite3-dev libcurl4-openssl-dev \
	qemu-system-x86 qemu-utils makedumpfile mmdebstrap busybox-static cpio e2fsprogs openssh-client iproute2 util-linux xz-utils

# None of them needs Swift's libraries where it runs, and the agent and the minor's process 1 none at all (Package.swift).
PROGRAMS = xenpr xenprd xenpr-minor xenpr-agent xenpr-lab xenpr-fuzz

LAB = .build/release/xenpr-lab
# The memory of a dead guest with all cases in it, which the dump tests read, and beside it (.truth) what was recorded of them while they lived.
DUMP = $(CURDIR)/.build/dump.elf
CASES ?= Tests/Cases
REPORT ?=
ON ?= xen

FUZZ = .build/release/xenpr-fuzz
# What make fuzz does; make test makes fewer.
MUTATIONS ?= 100000
INPUTS ?= 1000000
SEED ?= 1

.PHONY: demo test dump-tests brief-fuzz truth diff-table fuzz cases programs faults core pv zdtm bench table matrix build packages lint unit install install-agent clean

demo: build
	$(LAB) run --on xen Tests/Cases

test: lint unit build
	$(LAB) run --on qemu --dump $(DUMP) --truth Tests/Cases
	$(MAKE) -j2 --output-sync=target dump-tests brief-fuzz
	$(LAB) run --on xen --faults $(if $(REPORT),--report $(REPORT)) Tests/Cases

# What reads the dump that make test has made; each of the two keeps one processor busy.
dump-tests:
	XENPR_DUMP=$(DUMP) swift test --skip-build --filter DumpTests

brief-fuzz:
	$(FUZZ) run $(DUMP) --mutations 500
	Support/fuzz-parsers 20000

# The walk over a dead kernel's memory attacked with damage, and its parsers with made-up inputs: docs/hostile-memory.md.
fuzz: build
	$(FUZZ) run $(DUMP) --mutations $(MUTATIONS) --seed $(SEED) $(if $(REPORT),--report $(REPORT))
	Support/fuzz-parsers $(INPUTS)

faults: build
	$(LAB) faults $(if $(REPORT),--report $(REPORT))

# A core of xl dump-core out of a crash on a real Xen, which takes longer than make test has time for.
core: build
	$(LAB) faults dumped-core

# The cases in a PV guest, which the control domain salvages.
pv: build
	$(LAB) run --on xen --type pv --salvage control $(if $(REPORT),--report $(REPORT)) $(CASES)

# CRIU's own test programs through crashes, and docs/zdtm.md from what came of them; ZDTM is a directory of them, already built. Some are expected to fail.
zdtm: build
	rm -f .build/zdtm-h.json .build/zdtm-ns.json
	for flavor in h ns; do \
		$(LAB) zdtm --on $(ON) --flavor $$flavor --report .build/zdtm-$$flavor.json $(ZDTM) || [ -s .build/zdtm-$$flavor.json ] || exit 1; done
	$(LAB) zdtm-table --to docs/zdtm.md .build/zdtm-h.json .build/zdtm-ns.json

bench: PACKAGES += gnuplot-nox
bench: build
	$(LAB) bench $(if $(REPORT),--report $(REPORT))
	$(LAB) scale --plot docs/scale.svg --report docs/scale.json

cases: build
	$(LAB) run --on $(ON) $(if $(REPORT),--report $(REPORT)) $(CASES)

# Large programs as cases, which make test has no time for: on an emulated Xen their start alone takes minutes.
programs: build
	$(LAB) run --on $(ON) $(if $(REPORT),--report $(REPORT)) Tests/Programs

# The cases on the kernels of other Debian suites, each with the CRIU of its time, and docs/support.md from what came of it.
GUESTS = bullseye bookworm bookworm-cloud bookworm-backports trixie sid
matrix: build
	for guest in $(GUESTS); do \
		$(LAB) run --on qemu --guest $$guest --report .build/support-$$guest.json Tests/Cases; done; \
	$(LAB) support --to docs/support.md $(GUESTS:%=.build/support-%.json)

# What the living kernel and CRIU say, recorded just before a crash, and the dead kernel's memory and our images compared with it; GUEST is a Debian.
GUEST ?= bookworm
truth: build
	$(LAB) run --on qemu --guest $(GUEST) --dump $(DUMP) --truth $(CASES)
	XENPR_DUMP=$(DUMP) swift test --filter DumpTests

# The document of where our images may differ from CRIU's.
diff-table: build
	.build/release/xenpr diff --reasons > docs/diff.md

# The README's table of what comes back.
table: build
	$(LAB) table README.md Tests/Cases

build: packages
	for program in $(PROGRAMS); do \
		swift build -c release --static-swift-stdlib --product $$program || exit 1; done

lint:
	swift format lint -s -p -r Package.swift Sources Tests

unit: packages
	swift test

# Installs what is missing; without root it says what to install.
packages:
	@missing=$$(for package in $(PACKAGES); do \
		dpkg-query -W -f '$${Status}' $$package 2> /dev/null | grep -q 'ok installed' || echo $$package; done); \
	[ -n "$$missing" ] || [ -z "$$(apt-cache show linux-image-amd64 2> /dev/null)" ] || exit 0; \
	if [ "$$(id -u)" != 0 ]; then \
		echo "packages are missing; as root: apt-get update && apt-get install" $$missing >&2; exit 1; fi; \
	apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $$missing

# The control domain's part. The minor's kernel is the one that is named, as Debian ships it.
KERNEL ?= $(shell uname -r)
install:
	install -D -m 755 .build/release/xenprd $(DESTDIR)/usr/sbin/xenprd
	install -D -m 755 .build/release/xenpr $(DESTDIR)/usr/bin/xenpr
	install -D -m 644 Support/xenprd.service $(DESTDIR)/lib/systemd/system/xenprd.service
	[ -e $(DESTDIR)/etc/xenpr/xenprd.toml ] || install -D -m 644 Support/xenprd.toml $(DESTDIR)/etc/xenpr/xenprd.toml
	install -D -m 644 /boot/vmlinuz-$(KERNEL) $(DESTDIR)/usr/lib/xenpr/minor-vmlinuz
	Support/make-initrd --init .build/release/xenpr-minor --modules /lib/modules/$(KERNEL) \
		--module xen-privcmd --module xen-blkfront --optional crc32c_generic --module ext4 \
		--out $(DESTDIR)/usr/lib/xenpr/minor-initrd

# The part of each protected guest; the two files can also be copied there.
install-agent:
	install -D -m 755 .build/release/xenpr-agent $(DESTDIR)/usr/sbin/xenpr-agent
	install -D -m 644 Support/xenpr-agent.service $(DESTDIR)/lib/systemd/system/xenpr-agent.service

clean:
	rm -rf .build
