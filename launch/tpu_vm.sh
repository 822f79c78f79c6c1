#!/usr/bin/env bash
# One run on all hosts of a Cloud TPU slice: launch/tpu_vm.sh NAME ZONE --config=xception
#
# Change: NAME and ZONE of your TPU VM, CHECKOUT if the repository lies elsewhere on its hosts, and WORKDIR to a folder
# that the first host keeps (a mounted bucket outlives the VM). Before the first run, on every host:
#   git clone REPOSITORY fer_jax && cd fer_jax && pip install -e '.[tpu]'
# The same command continues a run that was stopped. The hosts find each other through the TPU's own metadata.
set -euo pipefail
name=${1:?the name of the TPU VM} zone=${2:?its zone}
shift 2
CHECKOUT=${CHECKOUT:-fer_jax}
WORKDIR=${WORKDIR:-runs/tpu}
flags=$(printf '%q ' --workdir="$WORKDIR" "$@")
exec gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all \
  --command="cd $(printf %q "$CHECKOUT") && python3 -u -m fer_jax.main $flags"
