#!/bin/sh
# boot_systemd.sh FOLDER: boot systemd on a machine whose files are ours, and writable.
#
# Run as root in a mount namespace of its own, whose mounts go with it. Writes the process
# id of the machine's systemd to stdout; lasts until its stdin ends, and takes all of the
# machine along: its processes, namespaces and control groups.
set -eu

# boot: become systemd, in namespaces of its own.
boot() {
    read -r pid _ </proc/self/stat # as it is outside of our namespace
    mount -t overlay -o lowerdir=/,upperdir=files,workdir=work overlay root
    cd root
    mount -t proc proc proc
    # What the kernel lets a machine set is set for all of them: as containers have it.
    mount --bind proc/sys proc/sys
    mount -o remount,bind,ro proc/sys
    mount -t sysfs -o ro sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount -t tmpfs -o mode=755 tmpfs dev
    for name in null zero full random urandom tty; do
        : >"dev/$name"
        mount --bind "/dev/$name" "dev/$name"
    done
    mkdir dev/pts dev/shm
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
    mount -t tmpfs -o mode=1777 tmpfs dev/shm
    ln -s pts/ptmx dev/ptmx
    ln -s /proc/self/fd dev/fd
    ln -s fd/0 dev/stdin
    ln -s fd/1 dev/stdout
    ln -s fd/2 dev/stderr
    mount -t tmpfs -o mode=755 tmpfs run
    mount -t tmpfs -o mode=1777 tmpfs tmp
    # Neither services that nobody asked for start there, nor is a pt-bridge installed.
    rm -rf etc/systemd/system var/log/journal var/lib/private var/lib/pt-bridge* \
        opt/pt-bridge etc/pt-bridge* usr/local/*bin/pt-bridge
    mkdir etc/systemd/system
    for name in modprobe@ systemd-modules-load; do # the kernel is not ours, either
        ln -s /dev/null "etc/systemd/system/$name.service"
    done
    : >etc/fstab
    : >etc/machine-id
    echo machine >etc/hostname
    ip link set lo up
    echo "$pid"
    exec chroot . env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd systemd.unit=sysinit.target >&2
}

if [ "$1" = --boot ]; then
    boot
fi

mount -t tmpfs -o mode=700 tmpfs "$1"
control_group=$1/groups/pt-bridge-test-$$
script=$(realpath "$0")
cd "$1"
mkdir files work root groups
mount -t cgroup2 cgroup2 groups
mkdir "$control_group"
(
    echo 0 >"$control_group/cgroup.procs"
    exec unshare --cgroup --uts --ipc --net --pid --fork --kill-child \
        sh "$script" --boot </dev/null
) &
namespaces=$!
exec >/dev/null # where no systemd can be booted, stdout ends, and that tells
cat
# unshare ends with systemd, and the kernel ends all others before it lets systemd go.
systemd=$(cat "/proc/$namespaces/task/$namespaces/children" 2>/dev/null) || :
kill -KILL ${systemd:-$namespaces} || :
wait "$namespaces" || :
find "$control_group" -depth -type d -exec rmdir {} +
