# Decodes the frames that a delta begins with, each with the old files before it that it was compressed after.

# A frame begins at $at of the delta; what it decodes to is a tar of so many bytes, and it gets no more memory for it.
unpack_frames() {
  set -f
  # shellcheck disable=SC2086 # words, none of them a pattern
  set -- $tar_options
  set +f
  number=0 at=0
  for frame in $frames; do
    number=$((number + 1)) size=${frame%:*} raw=${frame#*:}
    names=$store/stage/r$number
    [ -s "$names" ] && ! tr '\n\000' '\001\n' <"$names" | grep -qvE '^tree/[0-9a-f]{64}/root/.' && ! tr '\000' '\n' <"$names" | grep -qE '(^|/)\.\.(/|$)' || die E_PROTO 'cannot use the delta: it refers to what is no file of a tree'
    (cd "$store" && over "$names" cat) >"$store/in/before" 2>"$store/tx/err" || blame 'read the old files'
    { decode_after 2>"$store/tx/decode" || : >"$store/tx/broken"; } | head -c "$raw" | untar "$@" || blame 'unpack the delta' E_HASH
    [ ! -e "$store/tx/broken" ] || {
      cp "$store/tx/decode" "$store/tx/err"
      blame 'decode the delta' E_HASH
    }
    at=$((at + size))
  done
  rm -f "$store/in/delta" "$store/in/before"
}

# part PLACE SIZE: of the delta.
part() { tail -c "+$(($1 + 1))" "$delta" 2>/dev/null | head -c "$2"; }

decode_after() {
  if [ "$(part "$at" 6 | od -An -tx1 | tr -d ' \n')" != fd377a585a00 ]; then
    part "$at" "$size" | zstd -dcq --memory="$raw" --patch-from="$store/in/before"
    return
  fi
  # a window of 64 MiB at most
  [ "$(part "$((at + 16))" 1 | od -An -tu1 | tr -d ' ')" -le 28 ] || return 1
  before=$(stat -c %s "$store/in/before")
  { part "$at" 24 && plain_chunks "$before" <"$store/in/before" && part "$((at + 24))" "$((size - 24))"; } |
    { xz -dc || : >"$store/tx/broken"; } | tail -c "+$((before + 1))"
}

# Behind the head of a stream of xz the old files are chunks that are not compressed, each behind three bytes: whether it is
# the first, and its length less one. What was sent is the chunks behind them (see delta/lzma.ts).
plain_chunks() {
  left=$1 control='\001'
  while [ "$left" -gt 65536 ]; do
    # shellcheck disable=SC2059 # three bytes
    printf "$control\\377\\377" && dd bs=65536 count=1 2>/dev/null || return 1
    left=$((left - 65536)) control='\002'
  done
  [ "$left" != 0 ] || return 0
  left=$((left - 1))
  # shellcheck disable=SC2059 # three bytes
  printf "$control\\$(printf %03o $((left / 256)))\\$(printf %03o $((left % 256)))" && dd bs=65536 count=1 2>/dev/null
}
