#!/bin/bash
# machine.sh DISK CNI FOLDER...: in a machine that becomes a node: what namespaces and the host do for the other nodes.
# DISK holds the node's own file system, shown as /data, with each FOLDER on it; CNI is the node's /etc/cni/net.d. Lines for
# `ip -batch` come on standard input.
set -euo pipefail
disk=$1 cni=$2
shift 2
modprobe -a veth bridge br_netfilter loop dm_mod
# The kubelet's cAdvisor wants a clock speed: "could not detect clock speed from output".
if ! grep -q '^cpu MHz' /proc/cpuinfo; then
  { sed '/^$/d' /proc/cpuinfo; printf 'cpu MHz\t\t: 3000.000\n\n'; } >/run/cpuinfo
  mount --bind /run/cpuinfo /proc/cpuinfo
fi
mkdir -p /run/lock/lvm /run/containerd /run/udev /etc/cni/net.d /data
mount --bind "$cni" /etc/cni/net.d
# containerd's overlays need a real file system: / is an overlay itself. Discarding would take 1 s for each GiB.
dumpe2fs -h "$disk" >/dev/null 2>&1 || mkfs.ext4 -q -E nodiscard "$disk"
mount "$disk" /data
for folder; do
  mkdir -p "/data$folder" "$folder"
  mount --bind "/data$folder" "$folder"
done
mount --make-rshared /
# A power cut soon after the first start leaves this empty, and containerd never mends it: "invalid UUID length: 0".
find /var/lib/containerd/io.containerd.grpc.v1.introspection -name uuid -empty -delete 2>/dev/null || true
# What is noted here of pods' networks, which went with the power, may be cut off too: "unexpected end of JSON input".
rm -rf /var/lib/cni/*
echo 1 >/proc/sys/net/ipv4/ip_forward
exec ip -batch -
