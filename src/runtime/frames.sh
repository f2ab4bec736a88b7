# Decodes the frames behind a delta's first tar, each with the old files before it that it was compressed after.

# A frame begins at $at of the delta; what it decodes to is a tar of so many bytes, and it gets no more memory for it.
unpack_frames() {
  set -f
  # shellcheck disable=SC2086 # words, none of them a pattern
  set -- $tar_options
  set +f
  number=0 at=$first
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

decode_after() { part "$at" "$size" | zstd -dcq --memory="$raw" --patch-from="$store/in/before"; }
