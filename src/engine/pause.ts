// Pauses a container for as long as something is done, and lets it go on whatever happens.
import { VarveError, messageOf } from '../errors.ts'
import type { Engine } from './api.ts'

type Container = {
  readonly engine: Engine
  readonly id: string
  /** For messages. */
  readonly name: string
  /** See Context. */
  readonly undo: Set<() => Promise<void>>
}

/** Throws E_ENGINE where the container cannot be paused, or not be let go on, and what the action throws. */
export async function pausedFor<Value>(
  action: () => Promise<Value>,
  { engine, id, name, undo }: Container,
): Promise<Value> {
  const pausing = engine.post(`/containers/${id}/pause`)
  let paused: Promise<void> | undefined
  // once, and never before the engine has done what it was asked for
  const goOn = (): Promise<void> =>
    (paused ??= pausing.then(
      () => engine.post(`/containers/${id}/unpause`),
      () => {},
    ))
  undo.add(goOn)
  try {
    await pausing.catch((cause: unknown) => {
      throw new VarveError('E_ENGINE', `cannot pause "${name}": ${messageOf(cause)}`, {
        hint: 'stop it first, or read it while it runs: --no-pause',
        cause,
      })
    })
    return await action()
  } finally {
    undo.delete(goOn)
    await goOn().catch((cause: unknown) => stillThere({ engine, id, name }, cause))
  }
}

/** What is gone need not go on. */
async function stillThere({ engine, id, name }: Omit<Container, 'undo'>, cause: unknown): Promise<void> {
  const state = await engine.json(`/containers/${id}/json`).catch(() => true)
  if (state !== undefined)
    throw new VarveError('E_ENGINE', `cannot let "${name}" go on: ${messageOf(cause)}`, {
      hint: `docker unpause ${id.slice(0, 12)}`,
      cause,
    })
}
