#!/usr/bin/env bash
# Install and start a real one-node Slurm on this machine, for the tests of the Slurm executor.
# Debian or Ubuntu, as root, no systemd needed (works in a container). Safe to run again: starts what is not running.
# It writes /etc/slurm/slurm.conf, so refuses where another configuration stands there.
set -euo pipefail

mark="# written by scripts/one_node_slurm.sh"
conf=/etc/slurm/slurm.conf
host=$(hostname -s)

if [ "$(id -u)" -ne 0 ]; then echo "run this as root" >&2; exit 1; fi
if [ -s "$conf" ] && ! grep -qF "$mark" "$conf"; then
  echo "$conf belongs to another Slurm; not touched" >&2; exit 1
fi

if ! command -v slurmctld >/dev/null || ! command -v munged >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  # the packages try to start services, which fails without systemd and does not matter
  apt-get install -y -qq --no-install-recommends slurm-wlm munge >/dev/null
fi

grep -qw "$host" /etc/hosts || echo "127.0.0.1 $host" >> /etc/hosts
mkdir -p /run/munge /var/log/munge /var/lib/munge /etc/munge
[ -s /etc/munge/munge.key ] || dd if=/dev/urandom of=/etc/munge/munge.key bs=1 count=1024 status=none
chown -R munge:munge /run/munge /var/log/munge /var/lib/munge /etc/munge
chmod 400 /etc/munge/munge.key
chmod 755 /run/munge
pgrep -x munged >/dev/null || runuser -u munge -- "$(command -v munged)"

mkdir -p /var/spool/slurmctld /var/spool/slurmd /var/log/slurm /run/slurm /etc/slurm
cat > "$conf" <<CONF
$mark
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldPidFile=/run/slurm/slurmctld.pid
SlurmdPidFile=/run/slurm/slurmd.pid
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=5
ReturnToService=2
SwitchType=switch/none
MaxArraySize=1001
KillWait=5
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc --all) RealMemory=4000 State=UNKNOWN
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
CONF

pgrep -x slurmctld >/dev/null || "$(command -v slurmctld)"
pgrep -x slurmd >/dev/null || "$(command -v slurmd)" -N "$host"
for _ in $(seq 60); do
  if sinfo -h -o "%T" 2>/dev/null | grep -qE "idle|mixed|alloc"; then sinfo; exit 0; fi
  sleep 0.5
done
echo "the node did not come up; see /var/log/slurm" >&2
sinfo >&2 || true
tail -n 20 /var/log/slurm/*.log >&2 || true
exit 1
