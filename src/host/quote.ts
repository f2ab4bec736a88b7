// Turns words into a command line that sh, csh and fish all read as just these words; nothing else in varve quotes.
import { VarveError } from '../errors.ts'

/** Every word in single quotes. Throws E_BUG for a word that a login shell other than sh could misread. */
export function quote(words: readonly string[]): string {
  return words.map(quoteWord).join(' ')
}

function quoteWord(word: string): string {
  if (/[\0\n\r!\\]/.test(word))
    throw new VarveError('E_BUG', 'cannot quote a word: it has a character that shells read differently')
  return `'${word.replaceAll("'", `'"'"'`)}'`
}
