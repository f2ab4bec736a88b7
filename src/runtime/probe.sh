# Says what the host has, as "probe KEY VALUE" records; changes nothing.

verb_probe() {
  tar_kind=none flags=
  if has tar; then case $(tar --version 2>&1) in *"GNU tar"*) tar_kind=gnu ;; *) case $(tar --help 2>&1) in *BusyBox*) tar_kind=busybox ;; esac ;; esac; fi
  say tar "$tar_kind"
  missing=
  for tool in sha256sum find sort xargs stat head tail od awk sed cut tr wc mv ln cp rm mkdir chmod chown touch df sync readlink mktemp mount; do
    has "$tool" || missing=$missing,$tool
  done
  say missing "${missing#,}"
  for tool in zstd xz gzip getfattr flock perl python3 dd runc crun podman systemd-nspawn; do ! has "$tool" || flags=$flags,$tool; done
  # a frame of one word, decoded as frames are; the help of zstd 1.4.8 is silent about it
  if [ "$(printf '\050\265\057\375\040\005\051\000\000hello' | zstd -dcq --memory=1024 --patch-from="$(command -v zstd)" 2>/dev/null)" = hello ]; then flags=$flags,patch_from; fi
  if cp --help 2>&1 | grep -q -e --attributes-only; then flags=$flags,attributes; fi
  if grep -qw overlay /proc/filesystems 2>/dev/null || modprobe -n overlay 2>/dev/null; then flags=$flags,overlay; fi
  # a word that went through the filter for x86 programs, which BusyBox's xz may lack
  word='\375\067\172\130\132\000\000\001\151\042\336\066\002\001\004\000\041\001\014\000\326\174\030\257\001\000\004\150\145\154\154\157\000\000\000\000\206\246\020\066\000\001\031\005\274\350\354\313\220\102\231\015\001\000\000\000\000\001\131\132'
  # shellcheck disable=SC2059 # the word is one of escapes
  if [ "$(printf "$word" | xz -dc 2>/dev/null)" = hello ]; then flags=$flags,xz_x86; fi
  # words are little-endian here, and od can tell them
  if has gzip && [ "$(printf '\001\000\000\000' | od -An -tu4 2>/dev/null | tr -d ' ')" = 1 ]; then flags=$flags,signatures; fi
  # what is read of a stream ends where it should, so that a request may follow
  if [ "$(printf 'ab\n' | { head -c 1 >/dev/null && cat; })" = b ]; then flags=$flags,inline; fi
  at=$store
  while [ ! -d "$at" ]; do at=$(dirname "$at"); done
  say filesystem "$(stat -f -c %T "$at" 2>/dev/null)"
  say free_kib "$(df -Pk "$at" 2>/dev/null | awk 'NR == 2 { print $4 }')"
  say free_inodes "$(free_inodes "$at")"
  say memory_kib "$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo 2>/dev/null)"
  probe_running
  # one line for all: a survey is a part of every push
  say has "${flags#,}"
  say kernel "$(uname -r)"
  say machine "$(uname -m)"
}

# What decides how a config.json must be: see Facts in model/engine.ts.
probe_running() {
  # shellcheck disable=SC2046 # words that awk made
  set -- $(awk '
    $3 == "cgroup" { v1 = 1; names = names "," $4 }
    $3 == "cgroup2" { v2 = 1; if ($2 == "/sys/fs/cgroup") unified = 1 }
    END { print (v1 && v2 ? "hybrid" : v1 ? "v1" : unified ? "v2" : "none"), names }' /proc/mounts)
  say cgroup "$1"
  if [ "$1" = v2 ]; then say controllers "$(tr ' ' , </sys/fs/cgroup/cgroup.controllers 2>/dev/null)"
  else say controllers "$(printf %s "${2-}" | tr , '\n' | grep -Ex 'cpu|cpuset|memory|blkio|pids|hugetlb|rdma' | sort -u | tr '\n' ,)"; fi
  if grep -q '^Seccomp:' /proc/self/status; then flags=$flags,seccomp; fi
  if [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ]; then flags=$flags,apparmor; fi
  if [ -e /sys/fs/selinux/enforce ]; then flags=$flags,selinux; fi
  say limits "$(hard_limits)"
  files=
  for file in resolv.conf hosts; do [ ! -f "/etc/$file" ] || files=$files,$file; done
  say files "${files#,}"
}

# CAP_SYS_RESOURCE (bit 24) lets root raise a hard limit, but open files never beyond fs.nr_open.
hard_limits() {
  printf 'NOFILE=%s' "$(cat /proc/sys/fs/nr_open 2>/dev/null || echo 1048576)"
  case $(sed -n 's/^CapEff:.*\(.\)......$/\1/p' /proc/self/status) in [13579bdf]) return 0 ;; esac
  awk '
    BEGIN { split("CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE RTPRIO RTTIME", name, " ") }
    NR > 1 && name[NR - 1] != "" { hard = substr($0, 48, 20); gsub(" ", "", hard); if (hard ~ /^[0-9]+$/) printf ",%s=%s", name[NR - 1], hard }' /proc/self/limits
}

# engines: what can run a container here, as "engine COMMAND VERSION"; asked apart, since each is slow to say it.
verb_engines() {
  for tool in runc crun podman systemd-nspawn; do
    ! has "$tool" || printf 'engine %s %s\n' "$tool" "$("$tool" --version 2>/dev/null </dev/null | sed -n '1s/^[^0-9]*\([0-9][0-9A-Za-z.+~-]*\).*/\1/p' | grep . || echo -)"
  done
}

say() { printf 'probe %s %s\n' "$1" "${2:--}"; }

# survey NAME|-: all that a client asks before it plans, in one answer.
verb_survey() {
  verb_probe
  verb_inventory "$1"
}
