#!/bin/bash
# Builds a Debian for the system tests, once, and prints where it is.
#
#   build.sh container SUITE   directory with the root file system
#   build.sh machine SUITE     directory with disk.img, vmlinuz and initrd.img
#
# SUITE is bookworm or trixie. Results are kept in FETCHML_TEST_CACHE
# (default /var/cache/fetchml-tests) under a name that holds the hash of this
# script, so that a changed recipe is a new image and an old one is removed.
# The mirror is the one this machine's apt uses; FETCHML_TEST_MIRROR overrides.
set -euo pipefail

kind=${1:?kind} suite=${2:?suite}
cache=${FETCHML_TEST_CACHE:-/var/cache/fetchml-tests}

# What a small Debian server has, and what the suites drive it with.
packages=systemd-sysv,dbus,polkitd,procps,passwd,python3,python3-dbus
case $kind in
    container) ;;
    machine) packages+=,linux-image-cloud-amd64,initramfs-tools ;;
    *) echo "unknown kind of image: $kind" >&2; exit 2 ;;
esac
case $suite in
    bookworm | trixie) ;;
    *) echo "unknown suite: $suite" >&2; exit 2 ;;
esac

hash=$(sha256sum "${BASH_SOURCE[0]}" | cut -c1-12)
result=$cache/$kind-$suite-$hash
mkdir -p "$cache"
exec 9>"$cache/$kind-$suite.lock"
flock 9
if [ -e "$result/complete" ]; then
    echo "$result"
    exit 0
fi

find_mirror() {
    if [ -n "${FETCHML_TEST_MIRROR:-}" ]; then
        echo "$FETCHML_TEST_MIRROR"
        return
    fi
    local mirror
    mirror=$(apt-get indextargets --format '$(LABEL) $(CODENAME) $(REPO_URI)' 'Created-By: Packages' |
        awk '$1 == "Debian" && $2 !~ /-/ { print $3; exit }')
    if [ -z "$mirror" ]; then
        echo "no Debian mirror in the apt sources of this machine: run apt-get update, or set FETCHML_TEST_MIRROR" >&2
        return 1
    fi
    echo "$mirror"
}

# What this machine's apt needs to reach its mirror, the new Debian's needs too.
apt_options() {
    apt-config dump --format '%f "%v";%n' Acquire::http Acquire::https Acquire::Check-Valid-Until Acquire::Check-Date |
        grep -v ' "";$' || true
}

# Runs inside the new root.
customize() {
    cat <<'INSIDE'
set -e
# Ids far from 1000, so that a job's own id cannot be mistaken for its owner's.
uid=2001
for name in alice bob mallory; do
    useradd --create-home --shell /bin/bash --uid $uid $name
    uid=$((uid + 1))
done
# Empty and not absent: an absent one makes systemd ask questions on the console.
: > /etc/machine-id
echo fetchml-test > /etc/hostname
mkdir -p /etc/systemd/journald.conf.d
printf '[Journal]\nStorage=persistent\n' > /etc/systemd/journald.conf.d/test.conf
systemctl mask --quiet systemd-networkd-wait-online.service apt-daily.timer apt-daily-upgrade.timer \
    e2scrub_all.timer fstrim.timer dpkg-db-backup.timer man-db.timer console-getty.service
# The package under test is installed with its documentation.
rm -f /etc/dpkg/dpkg.cfg.d/99mmdebstrap
apt-get clean
rm -rf /var/lib/apt/lists/* /usr/share/doc/* /usr/share/locale/* /usr/share/man/*
INSIDE
}

# Runs inside the new root of a machine, which is commanded through a port.
customize_machine() {
    cat <<'INSIDE'
set -e
printf 'MODULES=list\n' > /etc/initramfs-tools/conf.d/test
printf 'COMPRESS=gzip\n' >> /etc/initramfs-tools/conf.d/test
printf 'virtio_pci\nvirtio_blk\next4\n' >> /etc/initramfs-tools/modules
update-initramfs -u
echo '/dev/vda / ext4 rw,relatime 0 1' > /etc/fstab
printf 'virtio_console\n' > /etc/modules-load.d/test.conf
systemctl mask --quiet serial-getty@ttyS0.service getty@tty1.service getty-static.service
cat > /usr/local/sbin/fetchml-test-machine <<'SCRIPT'
#!/bin/sh
# The second disk is a tar archive with a script and its files; what the
# script says goes out through the port, and the machine ends.
mkdir -p /run/test
cd /run/test
tar -xf /dev/vdb
exec > /dev/virtio-ports/fetchml.test 2>&1
sh ./script
echo '@@end'
sync
systemctl poweroff --force
SCRIPT
chmod 0755 /usr/local/sbin/fetchml-test-machine
cat > /etc/systemd/system/fetchml-test.service <<'UNIT'
[Unit]
Description=Script of the test that started this machine
After=multi-user.target systemd-modules-load.service
[Service]
Type=simple
ExecStartPre=udevadm settle
ExecStart=/usr/local/sbin/fetchml-test-machine
StandardOutput=journal+console
[Install]
WantedBy=graphical.target multi-user.target
UNIT
systemctl enable --quiet fetchml-test.service
INSIDE
}

mirror=$(find_mirror)
partial=$(mktemp -d "$cache/.partial-$kind-$suite.XXXXXX")
trap 'rm -rf --one-file-system "$partial"' EXIT
echo "building the $kind image of Debian $suite from $mirror" >&2

root=$partial/root
inside=(--customize-hook="chroot \"\$1\" sh -c \"\$CUSTOMIZE\"")
CUSTOMIZE=$(customize)
if [ "$kind" = machine ]; then
    CUSTOMIZE+=$'\n'$(customize_machine)
fi
export CUSTOMIZE
apt_options > "$partial/apt.conf"

DEBIAN_FRONTEND=noninteractive mmdebstrap \
    --quiet --mode=root --variant=minbase --include="$packages" \
    --aptopt="$partial/apt.conf" \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    "${inside[@]}" "$suite" "$root" "$mirror" >&2

if [ "$kind" = machine ]; then
    cp -L "$root"/boot/vmlinuz-* "$partial/vmlinuz"
    cp -L "$root"/boot/initrd.img-* "$partial/initrd.img"
    mke2fs -q -t ext4 -L root -d "$root" "$partial/disk.img" 2G
    rm -rf --one-file-system "$root"
fi

touch "$partial/complete"
chmod 0755 "$partial"
for old in "$cache/$kind-$suite"-*; do
    if [ -d "$old" ]; then
        rm -rf --one-file-system "$old"
    fi
done
mv "$partial" "$result"
trap - EXIT
echo "$result"
