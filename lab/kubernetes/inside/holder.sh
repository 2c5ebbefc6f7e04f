#!/bin/bash
# holder.sh PAUSE FOLDER [PATH...]: process 1 of a node's new namespaces. It lets go of the host's mounts that it does not
# need, gives the node its own /run (unless the network is the host's) and folders of its own under each PATH, kept below
# FOLDER, and becomes `pause`.
# OWN_NETWORK is "1" or empty; NODE is the host name; NEEDED are more paths that shall stay, with colons between them.
set -euo pipefail
pause=$1 folder=$2
shift 2

# A new mount namespace begins with a copy of every mount. What others have mounted at this moment would stay in use for as
# long as the lab lives: their loop devices could not go, and their file systems not be repaired.
IFS=: read -ra needed <<<"$folder:$pause:${NEEDED:-}:/run:/tmp:/dev/shm:/home:/root:/opt:/var/lib:/var/log"
is_needed() {
  local point=$1 type=$2 path
  case $type in
    proc | sysfs | cgroup | cgroup2 | devtmpfs | devpts | mqueue | hugetlbfs | debugfs | tracefs | securityfs | bpf | configfs) return 0 ;;
  esac
  case $point in
    / | /proc/* | /sys/* | /etc/* | /usr | /usr/* | /lib* | /bin | /sbin | /dev) return 0 ;;
  esac
  for path in "${needed[@]}"; do
    [[ $path/ == "$point"/* ]] && return 0
  done
  return 1
}
foreign=()
while read -r _ _ _ _ point rest; do
  type=${rest#* - }
  printf -v point %b "$point"
  is_needed "$point" "${type%% *}" || foreign=("$point" "${foreign[@]}")
done </proc/self/mountinfo
# One that lay in another has gone with it.
((${#foreign[@]} == 0)) || umount -l -- "${foreign[@]}" 2>/dev/null || true

mount --make-rshared /
hostname "$NODE"
if [[ $OWN_NETWORK ]]; then
  ip link set lo up
  mount -t tmpfs -o mode=755 tmpfs /run
  mkdir -p /run/lock /run/containerd
  echo 1 >/proc/sys/net/ipv4/ip_forward
fi
for path; do
  mkdir -p "$folder$path"
  mount --bind "$folder$path" "$path"
  mount --make-rshared "$path"
done
exec "$pause"
