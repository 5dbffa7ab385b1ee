/** Who sent the request, and whether they may do what it asks. */
import type { ServerResponse } from 'node:http'
import type { RequestHandler } from 'express'
import { boundTo, roleMay, type Authenticator, type Caller, type Permission } from '../access/contract.js'
import { AnnalsError, notFound } from '../errors.js'
import { knownCaller, setCaller } from './request-context.js'

/** Middleware: resolves the key in `Authorization: Bearer …`. Refuses with `unauthenticated` (401). */
export function authentication(authenticator: Authenticator): RequestHandler {
  return (request, response, next) => {
    authenticator.authenticate(request.headers.authorization).then((caller) => {
      setCaller(response, caller)
      next()
    }, next)
  }
}

/** Middleware for one route outside `/v1`: who sent it, and whether their role may, in one step. */
export function requirePermission(authenticator: Authenticator, permission: Permission): RequestHandler {
  return (request, response, next) => {
    authenticator
      .authenticate(request.headers.authorization)
      .then((caller) => {
        setCaller(response, caller)
        authorize(response, permission)
      })
      .then(() => next(), next)
  }
}

/** The caller of an authenticated request. */
export function callerOf(response: ServerResponse): Caller {
  const caller = knownCaller(response)
  if (caller === undefined) throw new Error('a route that needs a caller was mounted before authentication')
  return caller
}

/**
 * The caller, if they may. The role is judged first, so that a key without the role learns nothing about
 * organizations; then the binding, whose refusal is the answer for an organization that does not exist.
 * @throws AnnalsError `forbidden` | `not_found`
 */
export function authorize(response: ServerResponse, permission: Permission, organizationId?: string): Caller {
  const caller = callerOf(response)
  requireRole(caller, permission)
  if (organizationId !== undefined && !boundTo(caller, organizationId)) throw notFound()
  return caller
}

/** @throws AnnalsError `forbidden` where the caller's role has not the permission, in whatever organization */
export function requireRole(caller: Caller, permission: Permission): void {
  if (!roleMay(caller, permission))
    throw new AnnalsError('forbidden', 'The role of this key does not allow this.')
}
