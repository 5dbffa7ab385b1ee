/**
 * ISO 8601 durations of a fixed length: `PT90S`, `PT1H30M`, `P1DT2H`, `P2W`. Years and months are refused, since
 * how long they are depends on where they begin; a day is 24 hours. Fractions are allowed for seconds, to a millisecond.
 */
const pattern =
  /^P(?:(\d{1,5})W|(?:(\d{1,5})D)?(?:T(?:(\d{1,7})H)?(?:(\d{1,7})M)?(?:(\d{1,9}(?:\.\d{1,3})?)S)?)?)$/

const secondMs = 1_000
const minuteMs = 60 * secondMs
const hourMs = 60 * minuteMs
const dayMs = 24 * hourMs
const weekMs = 7 * dayMs

/** @returns milliseconds; undefined where the text is no such duration */
export function parseDuration(text: string): number | undefined {
  const match = pattern.exec(text)
  // The pattern lets `P`, `PT` and `P1DT` through: a designator with nothing behind it.
  if (match === null || text.endsWith('P') || text.endsWith('T')) return undefined
  const [, weeks, days, hours, minutes, seconds] = match
  return (
    amount(weeks) * weekMs +
    amount(days) * dayMs +
    amount(hours) * hourMs +
    amount(minutes) * minuteMs +
    Math.round(amount(seconds) * secondMs)
  )
}

/** The shortest such text for a whole number of milliseconds ≥ 0; `parseDuration` reads it back. */
export function formatDuration(durationMs: number): string {
  const days = Math.floor(durationMs / dayMs)
  const hours = Math.floor((durationMs % dayMs) / hourMs)
  const minutes = Math.floor((durationMs % hourMs) / minuteMs)
  const seconds = (durationMs % minuteMs) / secondMs
  const time = [
    hours > 0 ? `${hours}H` : '',
    minutes > 0 ? `${minutes}M` : '',
    seconds > 0 ? `${seconds}S` : '',
  ].join('')
  if (days === 0 && time === '') return 'PT0S'
  return `P${days > 0 ? `${days}D` : ''}${time === '' ? '' : `T${time}`}`
}

function amount(digits: string | undefined): number {
  return digits === undefined ? 0 : Number(digits)
}
