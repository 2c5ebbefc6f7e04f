#!/bin/bash
# spawn.sh PIDFILE LOG CMD...: starts a process that stays in these namespaces, and writes its number (as they count).
pidfile=$1 log=$2
shift 2
setsid "$@" </dev/null >>"$log" 2>&1 &
echo $! >"$pidfile"
