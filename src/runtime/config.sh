# Reads a generation's config.json, for what runc does by itself: its stop signal and network, and words for other engines.

# Flattens JSON of any layout: value["process/args/0"], count["process/args"]. A string never spans lines.
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
function take(n,  taken) { taken = substr(line, 1, n); line = substr(line, n + 1); return taken }
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
    sub(/^[ \t\r,:]+/, "", line)
    if (line == "") break
    c = substr(line, 1, 1)
    if (c == "{" || c == "[") { at = here(); depth++; path[depth] = at; kind[depth] = c; count[at] += 0; take(1) }
    else if (c == "}" || c == "]") { depth--; take(1) }
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

# podman has no use for config.json: its options and words, as podman_options and podman_words.
podman_awk='
function mounted(i, o,  all, n) {
  for (n = 0; n < count["mounts/" i "/options"]; n++) if (value["mounts/" i "/options/" n] == o) return 1
  return 0
}
END {
  if (bad || depth) exit 1
  options = each("process/env", "--env=") each("process/user/additionalGids", "--group-add=") " --cap-drop=all" each("process/capabilities/bounding", "--cap-add=")
  options = options " " quoted("--user=" (value["process/user/uid"] + 0) ":" (value["process/user/gid"] + 0)) " " quoted("--workdir=" value["process/cwd"])
  if (value["hostname"] != "") options = options " " quoted("--hostname=" value["hostname"])
  if (value["root/readonly"] == "true") options = options " --read-only"
  if (value["process/noNewPrivileges"] == "true") options = options " --security-opt=no-new-privileges"
  for (i = 0; i < count["linux/namespaces"]; i++) space[value["linux/namespaces/" i "/type"]] = "=" value["linux/namespaces/" i "/path"]
  options = options " " quoted("--network=" (!("network" in space) ? "host" : space["network"] == "=" ? "none" : "ns:" substr(space["network"], 2)))
  if (!("pid" in space)) options = options " --pid=host"
  if (!("ipc" in space)) options = options " --ipc=host"
  if (!("uts" in space)) options = options " --uts=host"
  for (i = 0; i < count["process/rlimits"]; i++) {
    at = "process/rlimits/" i
    name = tolower(substr(value[at "/type"], 8))
    options = options " " quoted("--ulimit=" name "=" value[at "/soft"] ":" value[at "/hard"])
  }
  if (value["linux/resources/memory/limit"] + 0 > 0) options = options " " quoted("--memory=" value["linux/resources/memory/limit"])
  options = options " " quoted("--pids-limit=" (value["linux/resources/pids/limit"] + 0 > 0 ? value["linux/resources/pids/limit"] : -1))
  for (i = 0; i < count["mounts"]; i++) {
    at = "mounts/" i
    if (value[at "/type"] != "bind" && !mounted(i, "bind") && !mounted(i, "rbind")) continue
    if ((value[at "/source"] value[at "/destination"]) ~ /[,"\n]/) exit 1
    options = options " " quoted("--mount=type=bind,src=" value[at "/source"] ",dst=" value[at "/destination"] (mounted(i, "ro") ? ",ro=true" : ""))
  }
  set("podman_options", options)
  set("podman_words", each("process/args", ""))
}'

# systemd-nspawn takes a bundle only where its config.json is of just its kind; of any other these are the options.
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
  for (i = 0; i < count["mounts"]; i++) {
    at = "mounts/" i
    if (value[at "/type"] != "bind") continue
    if ((value[at "/source"] value[at "/destination"]) ~ /[:\\\n]/) exit 1
    ro = 0
    for (n = 0; n < count[at "/options"]; n++) if (value[at "/options/" n] == "ro") ro = 1
    options = options " " quoted((ro ? "--bind-ro=" : "--bind=") value[at "/source"] ":" value[at "/destination"])
  }
  set("nspawn_options", options)
  set("nspawn_words", each("process/args", ""))
}'

# read_config NAME NUMBER KIND: sets the variables of facts, podman or nspawn; what is set is quoted by awk.
read_config() {
  case $3 in podman) program=$podman_awk ;; nspawn) program=$nspawn_awk ;; *) program=$facts_awk ;; esac
  program=$(awk "$json_awk$program" "$store/c/$1/bundle/$2/config.json" 2>/dev/null) ||
    die E_CONFIG "cannot use config.json of generation $2 of $1: it is not whole, or has a mount that no option can name"
  eval "$program"
}
