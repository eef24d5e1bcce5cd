#!/usr/bin/env bash
# A search as a Slurm job: it starts Ray on the nodes of the allocation, searches, and stops Ray again.
# Submit it from the checkout; what your cluster wants to know stands before the file:
#
#   sbatch --nodes 4 --gpus-per-node 4 --cpus-per-task 32 --time 12:00:00 \
#       cluster/slurm.sh search --name first --storage /shared/runs --trials 200
#
# All nodes must see the checkout, its Python and --storage in one shared folder. Five minutes before
# the time limit the search is saved, and the job puts itself back into the queue. It then goes on where
# it stopped. So does the same command later. $PYTHON: the Python to use, if not .venv/bin/python.
# $RAY_TMPDIR: a folder of each node's own for Ray's files, if not /tmp. The job ends with the exit
# status of the search. docs/slurm.md tells more.
#
#SBATCH --job-name=tune-vgg6
#SBATCH --output=tune-vgg6-%j.log
#SBATCH --open-mode=append
#SBATCH --ntasks-per-node=1
#SBATCH --signal=B:USR1@300
#SBATCH --requeue
#SBATCH --no-kill
set -euo pipefail

NODES_JOIN_S=${NODES_JOIN_S:-180}  # how long to wait for nodes; those that come later join the search
SAVED_S=60                         # a search saves itself within 10 s; then it is asked once more
NEAR_S=900                         # a SIGTERM so near to the time limit is a warning of it

say() { echo "slurm.sh: $*" >&2; }
refuse() { echo "error: $*" >&2; exit 2; }

case ${1-} in
    search | resume) ;;
    *) sed -n '/^#SBATCH/q;2,$s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
[ -n "${SLURM_JOB_ID-}" ] || refuse "no Slurm job: submit this file with sbatch"
[ -f tune_vgg6.py ] || refuse "no tune_vgg6.py in $PWD: submit from the checkout, or with --chdir"
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
found=$(command -v "$python") || refuse "PYTHON: '$python' is not there"
python=$(cd "$(dirname "$found")" && pwd)/$(basename "$found")  # a link of a .venv is not followed

# The value of a flag among the other arguments, "--flag value" or "--flag=value".
flag() {
    local name=$1 found='' before=''; shift
    for word in "$@"; do
        case $word in "$name="*) found=${word#*=} ;; *) [ "$before" != "$name" ] || found=$word ;; esac
        before=$word
    done
    echo "$found"
}

# What a restarted job runs: the search goes on with the settings that it has. Only what a session
# may choose anew is taken from the command.
words=("$@")
if [ "$1" = search ]; then
    name=$(flag --name "$@") storage=$(flag --storage "$@")
    [ -n "$name" ] || { name=slurm-$SLURM_JOB_ID; words+=(--name "$name"); }
    if "$python" tune_vgg6.py status "$name" --storage "${storage:-runs}" >/dev/null 2>&1; then
        words=(resume "$name" --storage "${storage:-runs}")
        before=''
        for word in "${@:2}"; do
            case $word in
                --confirm | --confirm=* | --margin=* | --mps=* | --wandb=* | --verbose) words+=("$word") ;;
                --*) ;;
                *)
                    case $before in
                        --confirm) words+=("$word") ;;
                        --margin | --mps | --wandb) words+=("$before" "$word") ;;
                    esac ;;
            esac
            before=$word
        done
        say "'$name' is there: it goes on where it stopped"
    fi
fi

# Ray on one node, until it is told to stop. Its files lie in a folder of this job and node alone: two
# jobs, or two users, may share a node. Runs on every node, so it knows nothing that is not exported.
ray_node() {
    local files memory store ray='' status=0 stopped=''
    local flags=(--block --num-cpus "${SLURM_CPUS_ON_NODE:-$(nproc)}")
    trap '' USR1
    trap 'stopped=1; [ -z "$ray" ] || kill -TERM "$ray" 2>/dev/null' TERM INT HUP
    files=$(mktemp -d "$JOB_TMPDIR/ray-XXXXXX") || return 1
    if [ -n "${SLURM_GPUS_ON_NODE-}" ]; then
        flags+=(--num-gpus "$SLURM_GPUS_ON_NODE")
    elif [ -z "${CUDA_VISIBLE_DEVICES+set}" ]; then
        flags+=(--num-gpus 0)  # none was allocated, whatever the node has
    fi
    memory=${SLURM_MEM_PER_NODE:-$((${SLURM_MEM_PER_CPU:-0} * ${SLURM_CPUS_ON_NODE:-1}))}
    if [ "$memory" -gt 0 ]; then  # the job's, not the node's; in MB
        store=$((memory * 1024 * 1024 * 3 / 10))
        flags+=(--object-store-memory $((store < 10000000000 ? store : 10000000000)))
    fi
    ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"
    # Port 0 is any free one. Without it, all Rays of a node would want the same.
    flags+=(--dashboard-agent-listen-port 0 --min-worker-port 0 --max-worker-port 0)
    "$JOB_PYTHON" -m ray.scripts.scripts start "${flags[@]}" --temp-dir "$files/ray" "$@" \
        >"$files/said" 2>&1 &
    ray=$!
    [ -z "$stopped" ] || kill -TERM "$ray"
    while kill -0 "$ray" 2>/dev/null; do wait "$ray" || true; done
    wait "$ray" || status=$?
    [ -n "$stopped" ] || { echo "Ray has ended on $(hostname):"; tail -n 1 "$files/said"; } >&2
    rm -rf "$files"
    return $status
}

head='' workers='' search='' ended_by=''

# End a process of this job and wait for it: SIGTERM, and SIGKILL if that does not do.
end() {
    local seconds=0
    [ -n "$1" ] || return 0
    kill -TERM "$1" 2>/dev/null || return 0
    while kill -0 "$1" 2>/dev/null; do
        [ $((seconds += 1)) -lt 100 ] || kill -KILL "$1" 2>/dev/null || true
        sleep 0.2
    done
}

stop() {
    trap '' USR1 TERM INT HUP
    end "$search"; end "$workers"; end "$head"
}
trap stop EXIT

# Wait for the search, or for what prepares it and needs the process $2. Returns its exit status. When
# the job is to end, it is told so, again after a while, and killed at last: what is in its journal is
# never lost.
follow() {
    local seconds=0 status=0 told='' needed=${2-}
    search=$1
    while kill -0 "$search" 2>/dev/null; do
        if [ -z "$ended_by" ]; then
            # shellcheck disable=SC2086  # none or one
            wait -n "$search" $needed || true
            [ -z "$needed" ] || kill -0 "$needed" 2>/dev/null || ended_by=ray
            continue
        fi
        if [ -z "$told" ] || [ $seconds -eq "$SAVED_S" ]; then
            kill -TERM "$search" 2>/dev/null || true
            told=1
        fi
        [ $((seconds += 1)) -lt $((2 * SAVED_S)) ] || kill -KILL "$search" 2>/dev/null || true
        sleep 1
    done
    wait "$search" || status=$?
    search=''
    return $status
}

# SIGTERM comes at the time limit, and also from `scancel`, or before Slurm preempts the job: then it is
# up to the user or to Slurm whether the job comes back.
on_term() {
    local left=0
    [ -z "${SLURM_JOB_END_TIME-}" ] || left=$((SLURM_JOB_END_TIME - $(date +%s)))
    ended_by=limit
    [ "$left" -le "$NEAR_S" ] || ended_by=cancelled
}
trap 'ended_by=limit' USR1
trap on_term TERM
trap 'ended_by=cancelled' INT HUP

# The end of the job, with the exit status of the search.
finish() {
    local status=$1
    [ -z "$ended_by" ] || [ "$status" -lt 128 ] || status=130  # interrupted, however late it came
    stop
    if [ "$ended_by" = limit ] && [ "$status" -ge 128 ]; then
        say "the time limit is near: back into the queue"
        scontrol requeue "$SLURM_JOB_ID" || say "not requeued: submit the same command to go on"
    fi
    exit "$status"
}

# A token of this job's own: without it, any user of these machines could run code in its Ray.
RAY_AUTH_TOKEN=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
JOB_TMPDIR=${RAY_TMPDIR:-/tmp}
if [ ${#JOB_TMPDIR} -gt 26 ]; then
    say "RAY_TMPDIR is too long for Ray's sockets: its files go below /tmp"
    JOB_TMPDIR=/tmp
fi
JOB_PYTHON=$python
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN JOB_TMPDIR JOB_PYTHON
export TUNE_VGG6_PRIVATE_RAY=1  # no other search on these nodes joins this one's Ray
unset RAY_ADDRESS RAY_TMPDIR

# The first port from $1 on where nothing listens. Jobs begin at ports of their own.
free_port() {
    local port=$1
    while (: <"/dev/tcp/$address/$port") 2>/dev/null; do port=$((port + 1)); done
    echo "$port"
}
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
first=${SLURMD_NODENAME:-${nodes[0]}}
address=$(getent ahostsv4 "$first" | awk '$1 !~ /^127\./ { print $1; exit }') || true
[ -n "$address" ] || address=$(hostname -I | awk '{ print $1 }')
port=$(free_port $((20000 + SLURM_JOB_ID % 1200 * 10)))
ray_node --head --disable-usage-stats --include-dashboard false --node-ip-address "$address" --port "$port" \
    --ray-client-server-port "$(free_port $((port + 1)))" &
head=$!

others=()
for node in "${nodes[@]}"; do [ "$node" = "$first" ] || others+=("$node"); done
if [ ${#others[@]} -gt 0 ]; then
    list=$(IFS=,; echo "${others[*]}")
    step=(--nodes "${#others[@]}" --ntasks "${#others[@]}" --ntasks-per-node 1 --nodelist "$list")
    [ -z "${SLURM_CPUS_PER_TASK-}" ] || step+=(--cpus-per-task "$SLURM_CPUS_PER_TASK")
    # One node that is lost does not end the others. SLURM_GPUS counts those of all nodes.
    env -u SLURM_GPUS srun "${step[@]}" --export=ALL --cpu-bind=none --no-kill --kill-on-bad-exit=0 \
        --wait=0 bash -c "$(declare -f ray_node); ray_node --address $address:$port" </dev/null &
    workers=$!
fi

"$python" - "$address:$port" ${#nodes[@]} "$NODES_JOIN_S" <<'END' &
import sys
import time

import ray

address, wanted, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
end, joined = time.monotonic() + seconds, 0
while joined < wanted and time.monotonic() < end:
    try:
        if not ray.is_initialized():
            ray.init(address, logging_level="CRITICAL", log_to_driver=False)
        joined = sum(node["Alive"] for node in ray.nodes())
    except (ConnectionError, RuntimeError, ValueError):
        pass  # the head is not there yet
    time.sleep(0.5)
if joined < wanted:
    print(f"slurm.sh: {joined} of {wanted} nodes have joined", file=sys.stderr)
sys.exit(joined == 0)
END
joined=0
follow $! $head || joined=$?
case $ended_by in
    '') [ $joined -eq 0 ] || finish 1 ;;
    ray) finish 1 ;;
    *) finish 130 ;;
esac

"$python" tune_vgg6.py "${words[@]}" --address "$address:$port" &
status=0
follow $! || status=$?
finish $status
