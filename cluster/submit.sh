#!/usr/bin/env bash
# Run a command of this checkout as a job on a Ray cluster, follow it, and end as it ends:
#
#   cluster/submit.sh search --name first --storage /shared/runs --trials 64
#   cluster/submit.sh resume first --storage /shared/runs
#
# The cluster is the one whose dashboard answers at $RAY_API_SERVER_ADDRESS (http://127.0.0.1:8265,
# where `ray dashboard` and an SSH tunnel put it); the token is the one in ~/.ray/auth_token. The job
# runs on the head: --storage must be a folder that all nodes share, or a URI. Exit status: 0 the job
# succeeded, 1 it did not, 2 bad input.
set -euo pipefail

address=${RAY_API_SERVER_ADDRESS:-http://127.0.0.1:8265}
checkout=$(cd "$(dirname "$0")/.." && pwd)

[ $# -gt 0 ] || { sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0" >&2; exit 2; }
storage=
for ((i = 1; i <= $#; i++)); do
    case ${!i} in
        --storage) next=$((i + 1)); storage=${!next-} ;;
        --storage=*) storage=${!i#--storage=} ;;
    esac
done
case $storage in
    /* | *://*) ;;
    *)
        echo "error: --storage: '$storage' is no folder of the whole cluster: a job's own folder goes" \
            "with the job. Give an absolute path that all nodes share, or a URI such as" \
            "s3://bucket/runs" >&2
        exit 2
        ;;
esac

# A proxy is for hosts elsewhere: it would look for this machine's dashboard on its own.
export no_proxy="127.0.0.1,localhost${no_proxy:+,$no_proxy}"
export NO_PROXY="127.0.0.1,localhost${NO_PROXY:+,$NO_PROXY}"
# Not sent: what .gitignore names (.venv, data, runs, wandb), and what no search reads.
export RAY_AUTH_MODE=${RAY_AUTH_MODE:-token}
exec ray job submit --address "$address" --working-dir "$checkout" \
    --runtime-env-json '{"excludes": [".git", "/docs", "/tests", "/benchmarks"]}' \
    -- python tune_vgg6.py "$@"
