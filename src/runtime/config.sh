# Reads a generation's config.json, for what runc does by itself: its stop signal and network, and words for other engines.

# Flattens JSON of any layout: value["process/args/0"], count["process/args"]. A string never spans lines. The filter of
# system calls is kept as it is written.
json_awk='
function quoted(text,  parts, n, i, all) {
  n = split(text, parts, "\047")
  for (i = 1; i <= n; i++) all = all (i > 1 ? "\047\\\047\047" : "") parts[i]
  return "\047" all "\047"
}
function byte(n) { return sprintf("%c", n) }
function hex(text,  n, i) {
  for (i = 1; i <= length(text); i++) n = n * 16 + index("0123456789abcdef", tolower(substr(text, i, 1))) - 1
  return n
}
function utf8(n) {
  if (n < 128) return n ? byte(n) : ""
  if (n < 2048) return byte(192 + int(n / 64)) byte(128 + n % 64)
  if (n < 65536) return byte(224 + int(n / 4096)) byte(128 + int(n / 64) % 64) byte(128 + n % 64)
  return byte(240 + int(n / 262144)) byte(128 + int(n / 4096) % 64) byte(128 + int(n / 64) % 64) byte(128 + n % 64)
}
function take(n,  taken) {
  taken = substr(line, 1, n)
  line = substr(line, n + 1)
  if (keep) seccomp = seccomp taken
  return taken
}
function string(  text, c, n, low) {
  take(1)
  for (;;) {
    if (!match(line, /["\\]/)) exit bad = 1
    text = text take(RSTART - 1)
    if (take(1) == "\"") return text
    c = take(1)
    if (c == "n") text = text "\n"
    else if (c == "t") text = text "\t"
    else if (c == "r") text = text "\r"
    else if (c == "b") text = text "\b"
    else if (c == "f") text = text "\f"
    else if (c == "u") {
      n = hex(take(4))
      if (n >= 55296 && n < 56320 && substr(line, 1, 2) == "\\u") {
        low = hex(substr(line, 3, 4))
        if (low >= 56320 && low < 57344) { take(6); n = 65536 + (n - 55296) * 1024 + low - 56320 }
      }
      text = text utf8(n)
    } else text = text c
  }
}
function here() {
  if (depth == 0) return ""
  name = kind[depth] == "[" ? count[path[depth]]++ : key[depth]
  haskey[depth] = 0
  return (path[depth] == "" ? "" : path[depth] "/") name
}
{
  line = $0
  for (;;) {
    if (match(line, /^[ \t\r,:]+/)) take(RLENGTH)
    if (line == "") break
    c = substr(line, 1, 1)
    if (c == "{" || c == "[") {
      at = here()
      depth++
      path[depth] = at
      kind[depth] = c
      count[at] += 0
      if (at == "linux/seccomp") keep = depth
      take(1)
    } else if (c == "}" || c == "]") {
      take(1)
      if (keep == depth) keep = 0
      depth--
    }
    else if (c == "\"") {
      text = string()
      if (kind[depth] == "{" && !haskey[depth]) { key[depth] = text; haskey[depth] = 1 }
      else value[here()] = text
    } else {
      if (!match(line, /^[^][{},:" \t\r]+/)) exit bad = 1
      text = take(RLENGTH)
      value[here()] = text
    }
  }
}
function set(name, text) { printf "%s=%s\n", name, quoted(text) }
function each(list, prefix,  i, all) {
  for (i = 0; i < count[list]; i++) all = all " " quoted(prefix value[list "/" i])
  return all
}
'

# What the lifecycle asks of every generation, as cfg_* variables.
facts_awk='
END {
  if (bad || depth) exit 1
  set("cfg_version", value["ociVersion"])
  set("cfg_uid", value["process/user/uid"] "")
  set("cfg_gid", value["process/user/gid"] "")
  signal = value["annotations/org.opencontainers.image.stopSignal"]
  sub(/^SIG/, "", signal)
  set("cfg_signal", signal ~ /^[A-Z0-9+-]+$/ ? signal : "TERM")
  network = "host"
  for (i = 0; i < count["linux/namespaces"]; i++) if (value["linux/namespaces/" i "/type"] == "network") network = "own"
  set("cfg_network", network)
  set("cfg_engine", value["annotations/varve.engine"] "")
  set("cfg_cgroup", !("linux/cgroupsPath" in value) ? "absent" : value["linux/cgroupsPath"] == "" ? "empty" : "named")
  for (i = 0; i < count["mounts"]; i++) targets = targets value["mounts/" i "/destination"] "\n"
  set("cfg_targets", targets)
}'

# podman has no use for config.json: its options and words, as podman_options and podman_words; podman_refuses is what no
# option says. Where there is no filter of system calls, podman takes its own.
podman_awk='
function say(option) { options = options " " quoted(option) }
function has(i, o,  n) {
  for (n = 0; n < count["mounts/" i "/options"]; n++) if (value["mounts/" i "/options/" n] == o) return 1
  return 0
}
function given(i, name,  n, o) {
  for (n = 0; n < count["mounts/" i "/options"]; n++) {
    o = value["mounts/" i "/options/" n]
    if (index(o, name "=") == 1) return substr(o, length(name) + 2)
  }
  return ""
}
function bind(i, from, to) {
  if ((from to) ~ /[,"\n]/) refuses = "no option of podman can name the mount at " to
  say("--mount=type=bind,src=" from ",dst=" to (has(i, "ro") ? ",ro=true" : ""))
}
# it has its own /dev, and gives a tmpfs to root or to the user of the process
function memory(i, to,  all, size) {
  size = given(i, "size")
  if (to == "/dev") return
  if (to == "/dev/shm") {
    if (size != "") say("--shm-size=" size)
    return
  }
  all = (has(i, "ro") ? "ro" : "rw") (has(i, "tmpcopyup") ? "" : ",notmpcopyup")
  all = all (has(i, "noexec") ? ",noexec" : ",exec") (has(i, "nosuid") ? ",nosuid" : ",suid") (has(i, "nodev") ? ",nodev" : ",dev")
  if (size != "") all = all ",size=" size
  if (given(i, "mode") != "") all = all ",mode=" given(i, "mode")
  if (given(i, "uid") + 0 == uid && given(i, "gid") + 0 == gid) all = all (uid + gid ? ",U" : "")
  else if (given(i, "uid") + given(i, "gid")) refuses = "no option of podman gives the tmpfs at " to " to " given(i, "uid") + 0 ":" given(i, "gid") + 0
  if (to ~ /[:,\n]/) refuses = "no option of podman can name the mount at " to
  say("--tmpfs=" to ":" all)
}
# podman has its own for these two, which are more than some hosts may
function inherit(label, name,  text, part) {
  while ((getline text < "/proc/self/limits") > 0) if (index(text, label " ") == 1) {
    split(substr(text, length(label) + 1), part, " ")
    gsub("unlimited", "-1", part[1])
    gsub("unlimited", "-1", part[2])
    say("--ulimit=" name "=" part[1] ":" part[2])
  }
  close("/proc/self/limits")
}
END {
  if (bad || depth) exit 1
  uid = value["process/user/uid"] + 0
  gid = value["process/user/gid"] + 0
  options = each("process/env", "--env=") each("process/user/additionalGids", "--group-add=") " --cap-drop=all" each("process/capabilities/bounding", "--cap-add=")
  say("--user=" uid ":" gid)
  say("--workdir=" value["process/cwd"])
  if (value["process/user/umask"] != "") say(sprintf("--umask=%04o", value["process/user/umask"]))
  if (value["process/oomScoreAdj"] != "") say("--oom-score-adj=" value["process/oomScoreAdj"])
  if (value["process/apparmorProfile"] != "") say("--security-opt=apparmor=" value["process/apparmorProfile"])
  if (value["hostname"] != "") say("--hostname=" value["hostname"])
  if (value["root/readonly"] == "true") say("--read-only")
  if (value["process/noNewPrivileges"] == "true") say("--security-opt=no-new-privileges")
  if (!count["linux/maskedPaths"] && !count["linux/readonlyPaths"]) say("--security-opt=unmask=ALL")
  for (i = 0; i < count["linux/namespaces"]; i++) space[value["linux/namespaces/" i "/type"]] = "=" value["linux/namespaces/" i "/path"]
  say("--network=" (!("network" in space) ? "host" : space["network"] == "=" ? "none" : "ns:" substr(space["network"], 2)))
  if (!("pid" in space)) say("--pid=host")
  if (!("ipc" in space)) say("--ipc=host")
  if (!("uts" in space)) say("--uts=host")
  for (i = 0; i < count["process/rlimits"]; i++) {
    at = "process/rlimits/" i
    name = tolower(substr(value[at "/type"], 8))
    limited[name] = 1
    say("--ulimit=" name "=" value[at "/soft"] ":" value[at "/hard"])
  }
  if (!count["process/rlimits"]) say("--ulimit=host")
  else {
    if (!("nofile" in limited)) inherit("Max open files", "nofile")
    if (!("nproc" in limited)) inherit("Max processes", "nproc")
  }
  n = split("memory/limit memory memory/reservation memory-reservation memory/swap memory-swap cpu/shares cpu-shares cpu/quota cpu-quota cpu/period cpu-period", limit, " ")
  for (i = 1; i < n; i += 2) if (value["linux/resources/" limit[i]] + 0 > 0) say("--" limit[i + 1] "=" value["linux/resources/" limit[i]])
  n = split("cpu/cpus cpuset-cpus cpu/mems cpuset-mems", limit, " ")
  for (i = 1; i < n; i += 2) if (value["linux/resources/" limit[i]] != "") say("--" limit[i + 1] "=" value["linux/resources/" limit[i]])
  say("--pids-limit=" (value["linux/resources/pids/limit"] + 0 > 0 ? value["linux/resources/pids/limit"] : -1))
  for (i = 0; i < count["linux/devices"]; i++) say("--device=" value["linux/devices/" i "/path"])
  for (name in value) if (index(name, "linux/sysctl/") == 1) say("--sysctl=" substr(name, 14) "=" value[name])
  for (i = 0; i < count["mounts"]; i++) {
    type = value["mounts/" i "/type"]
    to = value["mounts/" i "/destination"]
    if (type == "bind" || has(i, "bind") || has(i, "rbind")) bind(i, value["mounts/" i "/source"], to)
    else if (type == "tmpfs") memory(i, to)
    else if (type !~ /^(proc|sysfs|devpts|mqueue|cgroup2?)$/) refuses = "no option of podman mounts " type " at " to
  }
  set("podman_options", options)
  set("podman_words", each("process/args", ""))
  set("podman_seccomp", seccomp)
  set("podman_refuses", refuses "")
}'

# systemd-nspawn takes a bundle only where its config.json is of just its kind; of any other these are the options, and
# nspawn_refuses is what they cannot say.
nspawn_awk='
END {
  if (bad || depth) exit 1
  options = each("process/env", "--setenv=") " " quoted("--chdir=" value["process/cwd"])
  if (value["hostname"] != "") options = options " " quoted("--hostname=" value["hostname"])
  if (value["root/readonly"] == "true") options = options " --read-only"
  if (value["process/noNewPrivileges"] == "true") options = options " --no-new-privileges=yes"
  for (i = 0; i < count["linux/namespaces"]; i++) if (value["linux/namespaces/" i "/type"] == "network") {
    own = value["linux/namespaces/" i "/path"]
    options = options " " (own == "" ? "--private-network" : quoted("--network-namespace-path=" own))
  }
  for (i = 0; i < count["process/capabilities/bounding"]; i++) caps = caps (i ? "," : "") value["process/capabilities/bounding/" i]
  options = options " --drop-capability=all " quoted("--capability=" caps)
  for (i = 0; i < count["process/rlimits"]; i++) {
    at = "process/rlimits/" i
    options = options " " quoted("--rlimit=" value[at "/type"] "=" value[at "/soft"] ":" value[at "/hard"])
  }
  if (value["process/user/uid"] + 0) refuses = "a user that is not root"
  if (seccomp != "") refuses = "a filter of system calls"
  if (value["linux/resources/memory/limit"] + value["linux/resources/pids/limit"] > 0) refuses = "limits of memory or processes"
  for (i = 0; i < count["mounts"]; i++) {
    at = "mounts/" i
    type = value[at "/type"]
    to = value[at "/destination"]
    ro = 0
    all = ""
    for (n = 0; n < count[at "/options"]; n++) {
      option = value[at "/options/" n]
      if (option == "ro") ro = 1
      if (option ~ /^r?bind$/) type = "bind"
      if (option == "tmpcopyup") refuses = "a tmpfs at " to " that is filled from the image"
      else if (type == "tmpfs") all = all (all == "" ? ":" : ",") option
    }
    if (type != "bind" && (type != "tmpfs" || to ~ /^\/dev(\/|$)/)) continue
    if ((value[at "/source"] to) ~ /[:\\\n]/) refuses = "the mount at " to
    options = options " " quoted(type == "tmpfs" ? "--tmpfs=" to all : (ro ? "--bind-ro=" : "--bind=") value[at "/source"] ":" to)
  }
  set("nspawn_options", options)
  set("nspawn_words", each("process/args", ""))
  set("nspawn_refuses", refuses "")
}'

# read_config NAME NUMBER KIND: sets the variables of facts, podman or nspawn; what is set is quoted by awk.
read_config() {
  case $3 in podman) program=$podman_awk ;; nspawn) program=$nspawn_awk ;; *) program=$facts_awk ;; esac
  program=$(awk "$json_awk$program" "$store/c/$1/bundle/$2/config.json" 2>/dev/null) ||
    die E_CONFIG "cannot use config.json of generation $2 of $1: it is not whole"
  eval "$program"
}
