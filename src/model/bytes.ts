// Names and values as they are on disk: strings in which each character is one byte (latin1), so that nothing is lost.

/** A string whose characters are all 0x00-0xff: one character, one byte. Compares (`<`) in byte order. */
export type ByteString = string & { readonly bytes: unique symbol }

/** Takes a latin1 string as bytes; the caller has read it as latin1 or knows that it is ASCII. */
export function byteString(latin1: string): ByteString {
  return latin1 as ByteString
}

/** Shows bytes at a terminal or in JSON: UTF-8 where valid, everything that could act on a terminal as \xNN or \u{N}. */
export function printable(bytes: string): string {
  const raw = Uint8Array.from(bytes, (character) => character.codePointAt(0) ?? 0)
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(raw)
  } catch {
    return escapeControls(bytes, 0x7f)
  }
  return escapeControls(text, 0x10ffff)
}

/** Escapes C0, C1, DEL, bidi controls and everything above `limit`; for text of foreign origin that is no ByteString. */
export function escapeControls(text: string, limit = 0x10ffff): string {
  let out = ''
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0
    out += code <= limit && !actsOnTerminal(code) ? character : escaped(code)
  }
  return out
}

function escaped(code: number): string {
  return code <= 0xff ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`
}

function actsOnTerminal(code: number): boolean {
  return (
    code < 0x20 ||
    (code >= 0x7f && code <= 0x9f) ||
    code === 0x5c ||
    code === 0x61c ||
    code === 0xfeff ||
    (code >= 0x200b && code <= 0x200f) ||
    (code >= 0x2028 && code <= 0x202e) ||
    (code >= 0x2060 && code <= 0x206f) ||
    (code >= 0xd800 && code <= 0xdfff)
  )
}
