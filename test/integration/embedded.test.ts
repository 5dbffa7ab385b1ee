import { MongoClient } from 'mongodb'
import { expect, test } from 'vitest'
import { mongoUri, temporalAddress, testDatabaseName } from '../support/servers.js'
import { Connection } from '@temporalio/client'

test('the servers that the tests share answer', async () => {
  const client = await MongoClient.connect(mongoUri())
  const hello = await client.db(testDatabaseName()).command({ hello: 1 })
  expect(hello['isWritablePrimary']).toBe(true)
  await client.close()
  const connection = await Connection.connect({ address: temporalAddress() })
  const { namespaceInfo } = await connection.workflowService.describeNamespace({ namespace: 'annals' })
  expect(namespaceInfo?.name).toBe('annals')
  await connection.close()
})
