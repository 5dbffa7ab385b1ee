/** RFC 3339 times as clients send them, and as Annals keeps them: UTC with milliseconds. */

const rfc3339 =
  /^(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,18}))?(?:([Zz])|([+-])(\d{2}):(\d{2}))?$/

/**
 * Parses an RFC 3339 time with zone; digits beyond milliseconds are cut off.
 * @returns the moment, or which error code it deserves
 */
export function parseTime(text: string): Date | 'malformed_time' | 'no_time_zone' {
  const match = rfc3339.exec(text)
  if (match === null) return 'malformed_time'
  const [, year, month, day, hour, minute, second, fraction, utc, sign, offsetHour, offsetMinute] = match
  if (utc === undefined && sign === undefined) return 'no_time_zone'
  if (Number(hour) > 23 || Number(minute) > 59 || Number(second) > 59) return 'malformed_time'
  if (Number(offsetHour ?? 0) > 23 || Number(offsetMinute ?? 0) > 59) return 'malformed_time'
  const milliseconds = Number((fraction ?? '').padEnd(3, '0').slice(0, 3))
  const moment = new Date(0)
  // Not Date.UTC: it reads the years 0 to 99 as 1900 to 1999.
  moment.setUTCFullYear(Number(year), Number(month) - 1, Number(day))
  // 30 February rolls over into March: no such day.
  if (moment.getUTCMonth() !== Number(month) - 1 || moment.getUTCDate() !== Number(day))
    return 'malformed_time'
  moment.setUTCHours(Number(hour), Number(minute), Number(second), milliseconds)
  const offsetMinutes = Number(offsetHour ?? 0) * 60 + Number(offsetMinute ?? 0)
  const shifted = new Date(moment.getTime() - (sign === '-' ? -1 : 1) * offsetMinutes * 60_000)
  // A record's time has a year of four digits.
  const shiftedYear = shifted.getUTCFullYear()
  return shiftedYear < 0 || shiftedYear > 9999 ? 'malformed_time' : shifted
}
