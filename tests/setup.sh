#!/bin/bash
# Installs what `make test` needs beyond Rust, a C compiler, make and git.
# Safe to run again; says what it does; does nothing when nothing is missing.
set -euo pipefail

# Debian package : what shows that it is there.
needs=(
    "mmdebstrap:mmdebstrap"
    "systemd-container:systemd-nspawn"
    "systemd:systemd-analyze"
    "qemu-system-x86:qemu-system-x86_64"
    "e2fsprogs:mke2fs"
    "dpkg:dpkg-deb"
    "binutils:objdump"
    "util-linux:nsenter"
    "tar:tar"
    "gpgv:gpgv"
    "python3:python3"
    "procps:ps"
    "dbus:dbus-daemon"
    "libglib2.0-bin:gdbus"
    "bubblewrap:bwrap"
    "crun:crun"
)
packages=()
for need in "${needs[@]}"; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${need#*:}" >/dev/null || packages+=("${need%%:*}")
done
/usr/bin/python3 -c 'import dbus' 2>/dev/null || packages+=(python3-dbus)
# With these mmdebstrap knows what Debian signed.
[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || packages+=(debian-archive-keyring)

if ! cargo fmt --version >/dev/null 2>&1 || ! cargo clippy --version >/dev/null 2>&1; then
    echo "setup: rustup component add rustfmt clippy"
    rustup component add rustfmt clippy
fi

if [ ${#packages[@]} -eq 0 ]; then
    exit 0
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "setup: missing ${packages[*]}: install them, or run this as root" >&2
    exit 1
fi
echo "setup: apt-get install ${packages[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update --quiet=2
apt-get install --quiet=2 --yes --no-install-recommends "${packages[@]}" >/dev/null
