#!/bin/sh
# The first process of new namespaces (mount, pid, uts, ipc, cgroup): makes a root of its own and becomes systemd there.
# Its writes go to memory; units come from a folder; the checkout is shown as /opt/azekura.
# usage: enter.sh ROOT CHECKOUT NODE TARGET
set -eu
root=$1 checkout=$2 node=$3 target=$4
mount --make-rprivate /
mount -t tmpfs none "$root/space"
mkdir "$root/space/upper" "$root/space/work"
mount -t overlay none -o "lowerdir=/,upperdir=$root/space/upper,workdir=$root/space/work" "$root/root"
cd "$root/root"
mount -t proc none proc
mount --rbind /sys sys
mount --rbind /dev dev
umount -R sys/fs/cgroup
mount -t cgroup2 none sys/fs/cgroup
mount -t tmpfs none run
mkdir -p run/systemd/system opt/azekura var/lib/azekura-test mnt/db
# An overlay cannot bear loop devices with direct I/O. A fifth of it is what the first pool takes.
mount -t tmpfs -o size=4g none var/lib/azekura-test
mount --bind "$checkout" opt/azekura
cp "$root"/units/* run/systemd/system/
# Nothing of the machine's own may be hidden (dependencies of the checkout may lie below /tmp), nor cleared away.
for unit in tmp.mount systemd-udevd.service systemd-udev-trigger.service systemd-tmpfiles-setup.service \
  systemd-tmpfiles-setup-dev.service systemd-tmpfiles-clean.timer systemd-timesyncd.service systemd-update-utmp.service \
  systemd-journal-flush.service systemd-pcrphase.service systemd-pcrphase-sysinit.service; do
  ln -s /dev/null "run/systemd/system/$unit"
done
printf '#!/bin/sh\nexec %s /opt/azekura/bin/azekura.mjs "$@"\n' "$node" >usr/local/bin/azekura
chmod 755 usr/local/bin/azekura
cp "$root/default" etc/default/azekura
exec chroot . /usr/bin/env -i container=azekura PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --system "--unit=$target" --show-status=no
