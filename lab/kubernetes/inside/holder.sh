#!/bin/bash
# holder.sh PAUSE FOLDER [PATH...]: process 1 of a node's new namespaces. It gives the node its own /run (unless the
# network is the host's) and folders of its own under each PATH, kept below FOLDER, and becomes `pause`.
# OWN_NETWORK is "1" or empty; NODE is the host name.
set -euo pipefail
pause=$1 folder=$2
shift 2
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
