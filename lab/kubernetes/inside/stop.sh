#!/bin/bash
# stop.sh PIDFILE SECONDS: asks a process of these namespaces to end, ends it after SECONDS, and waits until it is gone.
pid=$(<"$1")
kill "$pid" 2>/dev/null
for ((i = 0; i < $2 * 20; i++)); do
  [[ -d /proc/$pid ]] || break
  sleep 0.05
done
kill -9 "$pid" 2>/dev/null
while [[ -d /proc/$pid ]]; do sleep 0.05; done
rm -f "$1"
