/** What a stream may be asked for in its address; also the source of `/openapi.json`. */
import { z } from 'zod'

export const streamQuerySchema = z.strictObject({
  answer: z.enum(['all', 'failures']).default('failures').meta({
    description: 'A line for every event, or for those that failed.',
  }),
  progress: z.enum(['true', 'false']).optional().meta({
    description: 'Also say now and then up to which line everything is answered: `{through, …counts}`.',
  }),
})
