#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A hypervisor host of its own on this machine: own mount, network, pid, uts and ipc namespaces, own libvirtd and virtlogd,
# private /run /dev /etc/libvirt /var/{lib,log,cache}/libvirt. Needs root. Nothing of it touches the machine's own libvirt.
#
#   host.sh check                     exit 0 when this machine can do it, else 77 and the reason on standard error
#   host.sh up DIR [OPTION...]        start; returns when libvirtd answers. All its files are below DIR (an absolute, short path).
#       --kvm                         pass /dev/kvm in (default: the host has none)
#       --cgroup                      own cgroups where the machine has a cpu controller, of version 1 or 2, so that weights work; else, and
#                                     by default, libvirt sees no cgroups
#       --bare                        no libvirt: a machine for a gateway, or a switch
#       --cache DIR2                  start from QEMU capabilities kept in DIR2, and keep them there: saves seconds
#   host.sh plug DIR SWITCH ADDRESS   connect it: device "uplink" with ADDRESS (10.77.0.2/24) inside, its other end, named after DIR, on the
#                                     bridge "lab" of the host SWITCH, which is made by: host.sh enter SWITCH ip link add lab type bridge
#   host.sh enter DIR CMD [ARG...]    run a command inside, same working directory and environment
#   host.sh libvirtd DIR start|stop|kill|freeze|thaw
#   host.sh down DIR [--keep]         end every process inside, remove cgroups and DIR (--keep: leave the files for a look)
#   host.sh run DIR [OPTION...] -- CMD [ARG...]
#                                     up, enter CMD, down; the host also ends when this command is killed. Exit status of CMD;
#                                     77 when this machine cannot do it. DIR "-": a new one below /tmp.
#
# From outside, libvirt is at qemu+unix:///system?socket=DIR/run/libvirt/libvirt-sock ; inside at qemu:///system .
set -u

die() {
        echo "host.sh: $*" >&2
        exit 1
}

enter() { # DIR CMD...
        local pid start now d=$1 group=
        shift
        { read -r pid start <"$d/init.pid" && read -r now <"/proc/$pid/stat"; } 2>/dev/null || die "$d is not up"
        now=(${now##*) })
        [ "${now[19]}" = "$start" ] || die "$d is not up"
        [ -f "$d/cgroup" ] && group=-C
        export GABBRO_LAB=$d
        exec nsenter -t "$pid" -m -u -i -n -p $group --wdns="$PWD" -- "$@"
}

# Thousands of times in the tests: nothing that another process does, and nothing of this file is read behind it.
if [ "${1:-}" = enter ] && [ $# -ge 3 ]; then
        PATH=$PATH:/usr/sbin:/sbin
        enter "${@:2}"
fi

self=$(readlink -f "$0")
controllers="cpu cpuacct cpuset memory devices freezer blkio pids"

check() {
        [ "$(id -u)" = 0 ] || { echo "host.sh: needs root" >&2; return 77; }
        local program
        for program in unshare nsenter setpriv ip libvirtd virtlogd virsh qemu-system-x86_64; do
                PATH=$PATH:/usr/sbin command -v $program >/dev/null || { echo "host.sh: $program is missing" >&2; return 77; }
        done
        unshare --mount --uts --ipc --net --pid --fork true 2>/dev/null || { echo "host.sh: no namespaces here" >&2; return 77; }
}

alive() { # DIR: prints the pid of its init when it runs
        local pid start
        read -r pid start 2>/dev/null <"$1/init.pid" || return 1
        [ "$(started "$pid")" = "$start" ] && echo "$pid"
}

started() { # PID: its start time, so that a reused pid is not mistaken
        local line
        read -r line 2>/dev/null <"/proc/$1/stat" || return 1
        set -- ${line##*) }
        echo "${20}"
}

configure() { # DIR
        local d=$1 uuid
        mkdir -p "$d"/{etc/qemu,run,lib/images,log,cache,tmp}
        chmod 711 "$d" "$d/lib" "$d/lib/images"
        uuid=$(cat /proc/sys/kernel/random/uuid)
        cat >"$d/etc/libvirtd.conf" <<C
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_rw_perms = "0700"
host_uuid = "$uuid"
log_level = 3
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
C
        cat >"$d/etc/qemu.conf" <<C
security_driver = "none"
dynamic_ownership = 1
user = "libvirt-qemu"
group = "libvirt-qemu"
stdio_handler = "logd"
vnc_auto_unix_socket = 1
C
        : >"$d/etc/libvirt.conf"
        : >"$d/etc/virtlogd.conf"
}

devices() {
        umount -R -l /dev # shadowed mounts below /dev make libvirt fail with "Unable to move /dev/pts mount"
        mount -t tmpfs -o mode=755,nosuid tmpfs /dev
        local node
        for node in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0"; do
                set -- $node
                mknod -m 666 "/dev/$1" c "$2" "$3"
        done
        mkdir /dev/pts /dev/shm /dev/net
        mknod -m 666 /dev/net/tun c 10 200
        mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts /dev/pts
        mount -t tmpfs tmpfs /dev/shm
        ln -s pts/ptmx /dev/ptmx
        ln -s /proc/self/fd /dev/fd
        ln -s /proc/self/fd/0 /dev/stdin
        ln -s /proc/self/fd/1 /dev/stdout
        ln -s /proc/self/fd/2 /dev/stderr
}

start_daemons() {
        local pid=
        [ -r /run/virtlogd.pid ] && pid=$(cat /run/virtlogd.pid)
        if [ -z "$pid" ] || ! kill -0 "$pid" 2>/dev/null; then
                setsid virtlogd -d -p /run/virtlogd.pid </dev/null >>/var/log/libvirt/virtlogd.err 2>&1
        fi
        local listen=
        [ -e /etc/libvirt/listen ] && listen=--listen # made by who wants other hosts to reach it (lab.py)
        # As doc/how-to/install.md says: what a guest agent nests is no end of libvirtd.
        (ulimit -s 1048576 && exec setsid libvirtd -d $listen -p /run/libvirtd.pid </dev/null >>/var/log/libvirt/libvirtd.err 2>&1)
}

own_cgroups() { # VERSION, in the namespaces: the group that "cgroups add" made is the root
        local c
        if [ "$1" = 2 ]; then
                mount -t cgroup2 cgroup2 /sys/fs/cgroup
                mkdir /sys/fs/cgroup/init # a group hands its controllers on only when it has no process itself
                echo 1 >/sys/fs/cgroup/init/cgroup.procs
                hand_on /sys/fs/cgroup
                return
        fi
        mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
        for c in $controllers; do
                mkdir "/sys/fs/cgroup/$c"
                mount -t cgroup -o "$c" cgroup "/sys/fs/cgroup/$c"
        done
}

init() { # DIR KVM CGROUP BARE: pid 1 of the new namespaces
        local d=$1 line
        if [ "$3" != 0 ] && [ -z "${GABBRO_LAB_GROUPED:-}" ]; then
                cgroups add "$(cat "$d/cgroup")" 0
                GABBRO_LAB_GROUPED=1 exec unshare --cgroup "$self" __init "$@"
        fi
        read -r line </proc/self/stat # still the outer /proc: our pid as the machine sees it
        set -e
        mount --make-rprivate /
        echo "${line%% *} $(started "${line%% *}")" >"$d/init.pid"
        mount -t proc proc /proc
        hostname "lab-$(basename "$d")"
        devices
        [ "$2" = 1 ] && mknod -m 600 /dev/kvm c 10 232
        umount -R -l /sys
        mount -t sysfs sysfs /sys
        if [ "$3" != 0 ]; then
                own_cgroups "$3"
        fi
        mkdir -p /var/lib/libvirt /var/log/libvirt /var/cache/libvirt
        mount --bind "$d/etc" /etc/libvirt
        mount --bind "$d/lib" /var/lib/libvirt
        mount --bind "$d/log" /var/log/libvirt
        mount --bind "$d/cache" /var/cache/libvirt
        mount --bind "$d/run" /run
        mkdir -p /run/lock
        ip link set lo up
        set +e
        [ "$4" = 1 ] || start_daemons
        # Orphans become children of pid 1, and libvirt waits for the end of QEMU: they must be reaped at once. A blocked read lets
        # bash run its SIGCHLD handler, which waits for any child; the timeout is for one that died just before the read.
        mkfifo -m 600 /run/init.fifo
        exec 9<>/run/init.fifo
        while :; do
                read -r -t 1 -u 9
                wait -n 2>/dev/null
        done
}

cgroup_version() { # of the machine's cpu controller: 1, 2, or 0
        if grep -qw cpu /sys/fs/cgroup/cgroup.controllers 2>/dev/null; then
                echo 2
        elif [ -d /sys/fs/cgroup/cpu ]; then
                echo 1
        else
                echo 0
        fi
}

hand_on() { # GROUP: its controllers to the groups in it
        local c
        for c in $(cat "$1/cgroup.controllers"); do
                echo "+$c" >"$1/cgroup.subtree_control" || true
        done
}

cgroups() { # add|remove NAME PID (0: this process)
        local c
        if [ "$(cgroup_version)" = 2 ]; then
                if [ "$1" = add ]; then
                        hand_on /sys/fs/cgroup
                        mkdir -p "/sys/fs/cgroup/$2"
                        echo "$3" >"/sys/fs/cgroup/$2/cgroup.procs"
                elif [ -d "/sys/fs/cgroup/$2" ]; then
                        find "/sys/fs/cgroup/$2" -depth -type d -exec rmdir {} \; 2>/dev/null
                fi
                return
        fi
        for c in $controllers; do
                [ -d "/sys/fs/cgroup/$c" ] || continue
                if [ "$1" = add ]; then
                        mkdir -p "/sys/fs/cgroup/$c/$2"
                        if [ "$c" = cpuset ]; then
                                cat /sys/fs/cgroup/cpuset/cpuset.cpus >"/sys/fs/cgroup/cpuset/$2/cpuset.cpus"
                                cat /sys/fs/cgroup/cpuset/cpuset.mems >"/sys/fs/cgroup/cpuset/$2/cpuset.mems"
                        fi
                        echo "$3" >"/sys/fs/cgroup/$c/$2/cgroup.procs"
                elif [ -d "/sys/fs/cgroup/$c/$2" ]; then
                        find "/sys/fs/cgroup/$c/$2" -depth -type d -exec rmdir {} \; 2>/dev/null
                fi
        done
}

up() { # DIR OPTION...
        local d=$1 kvm=0 cgroup=0 bare=0 cache= i
        shift
        case $d in /*) ;; *) die "DIR must be absolute" ;; esac
        [ ${#d} -le 70 ] || die "DIR is too long for unix sockets below it"
        while [ $# -gt 0 ]; do
                case $1 in
                --kvm) kvm=1 ;;
                --cgroup) cgroup=1 ;;
                --bare) bare=1 ;;
                --cache) cache=$2; shift ;;
                *) die "unknown option $1" ;;
                esac
                shift
        done
        check || exit $?
        alive "$d" >/dev/null && die "$d is up already"
        configure "$d"
        if [ -n "$cache" ]; then
                mkdir -p "$cache"
                echo "$cache" >"$d/cache.from"
                cp -a "$cache/." "$d/cache/"
        fi
        if [ $cgroup = 1 ]; then
                cgroup=$(cgroup_version)
                [ "$cgroup" = 0 ] || echo "gabbro-lab-$$" >"$d/cgroup"
        fi
        rm -f "$d/init.pid"
        (
                exec setsid ${GABBRO_LAB_FOLLOW:+setpriv --pdeathsig KILL} \
                        unshare --mount --uts --ipc --net --pid --fork --kill-child "$self" __init "$d" $kvm $cgroup $bare \
                        </dev/null >"$d/init.out" 2>&1
        ) &
        local launcher=$!
        disown $launcher
        for i in $(seq 300); do
                [ $bare = 1 ] && [ -p "$d/run/init.fifo" ] && alive "$d" >/dev/null && return 0
                [ -S "$d/run/libvirt/libvirt-sock" ] &&
                        virsh -q -c "qemu+unix:///system?socket=$d/run/libvirt/libvirt-sock" version >/dev/null 2>&1 && return 0
                kill -0 $launcher 2>/dev/null || break
                sleep 0.1
        done
        echo "host.sh: libvirtd does not answer" >&2
        cat "$d/init.out" "$d"/log/*.err >&2
        down "$d" --keep
        return 1
}

plug() { # DIR SWITCH ADDRESS
        local pid switch port
        port=$(basename "$1")
        pid=$(alive "$1") || die "$1 is not up"
        switch=$(alive "$2") || die "$2 is not up"
        ip link add name uplink netns "$pid" type veth peer name "$port" netns "$switch" || return 1
        (enter "$2" ip link set "$port" master lab up) || return 1
        (enter "$1" ip addr add "$3" dev uplink) || return 1
        enter "$1" ip link set uplink up
}

daemon() { # DIR start|stop|kill|freeze|thaw
        local signal
        case $2 in
        start) enter "$1" "$self" __daemons ;;
        stop) signal=TERM ;;
        kill) signal=KILL ;;
        freeze) signal=STOP ;;
        thaw) signal=CONT ;;
        *) die "libvirtd: what?" ;;
        esac
        enter "$1" bash -c "kill -$signal \$(cat /run/libvirtd.pid)"
}

down() { # DIR [--keep]
        local d=$1 pid i
        [ -d "$d" ] || return 0
        if pid=$(alive "$d"); then
                if [ -f "$d/cache.from" ]; then
                        mkdir -p "$(cat "$d/cache.from")" && cp -a "$d/cache/." "$(cat "$d/cache.from")/"
                fi
                kill -KILL "$pid"
                for i in $(seq 100); do
                        alive "$d" >/dev/null || break
                        sleep 0.05
                done
        fi
        if [ -f "$d/cgroup" ]; then
                for i in $(seq 40); do
                        cgroups remove "$(cat "$d/cgroup")"
                        [ -d "/sys/fs/cgroup/cpu/$(cat "$d/cgroup")" ] || [ -d "/sys/fs/cgroup/$(cat "$d/cgroup")" ] || break
                        sleep 0.05
                done
        fi
        [ "${2:-}" = --keep ] || rm -rf --one-file-system "$d"
}

run() { # DIR OPTION... -- CMD...
        local d=$1 options=() status
        shift
        while [ $# -gt 0 ] && [ "$1" != -- ]; do
                options+=("$1")
                shift
        done
        shift
        check || exit $?
        [ "$d" = - ] && d=$(mktemp -d /tmp/gabbro-lab-XXXXXX)
        export GABBRO_LAB_FOLLOW=1
        trap 'down "$d"' EXIT
        trap 'exit 143' TERM INT HUP
        up "$d" ${options[@]+"${options[@]}"} || exit $?
        unset GABBRO_LAB_FOLLOW
        (enter "$d" "$@") &
        wait $!
        status=$?
        exit $status
}

PATH=$PATH:/usr/sbin:/sbin
action=${1:-}
[ $# -gt 0 ] && shift
case $action in
check) check ;;
up | enter | plug | down | run) [ $# -ge 1 ] || die "$action needs DIR"; $action "$@" ;;
libvirtd) daemon "$@" ;;
__init) init "$@" ;;
__daemons) start_daemons ;;
*) sed -n '4,27s/^# \{0,1\}//p' "$self"; exit 2 ;;
esac
