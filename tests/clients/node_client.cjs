// node-postgres: text and prepared statements, COPY by pg-copy-streams, portions by pg-cursor, cancel, an error's fields.
const assert = require('node:assert/strict')
const { pipeline } = require('node:stream/promises')
const { Readable } = require('node:stream')
const { Client, Pool } = require('pg')
const Cursor = require('pg-cursor')
const { from: copyFrom, to: copyTo } = require('pg-copy-streams')

async function main() {
  const client = new Client()
  await client.connect()
  await client.query('DROP TABLE IF EXISTS node_t')
  await client.query('CREATE TABLE node_t (id int NOT NULL, name text, price numeric(8,2), at timestamptz)')
  const sink = client.query(copyFrom('COPY node_t (id, name, price) FROM STDIN'))
  await pipeline(Readable.from(Array.from({ length: 1000 }, (_, i) => `${i}\tname ${i}\t${(i / 4).toFixed(2)}\n`)), sink)
  assert.equal(sink.rowCount, 1000)
  const inserted = await client.query('INSERT INTO node_t VALUES ($1, $2, $3, $4)', [2000, "a'b", '1.5', new Date(0)])
  assert.equal(inserted.rowCount, 1)
  assert.equal(inserted.command, 'INSERT')

  const { rows, fields } = await client.query('SELECT id, name, price, at FROM node_t WHERE id = $1 OR id = $2 ORDER BY id', [7, 2000])
  assert.deepEqual(rows[0], { id: 7, name: 'name 7', price: '1.75', at: null })
  assert.deepEqual(rows[1], { id: 2000, name: "a'b", price: '1.50', at: new Date(0) })
  assert.deepEqual(fields.map((field) => field.dataTypeID), [23, 25, 1700, 1184])
  const answer = await client.query({ text: 'SELECT $1::int AS i, $2::text AS t, $3::bool AS b, $4::float8 AS f, $5::int[] AS a', values: [5, 'x', true, 1.5, [1, 2]], rowMode: 'array' })
  assert.deepEqual(answer.rows, [[5, 'x', true, 1.5, [1, 2]]])
  const prepared = { name: 'by id', text: 'SELECT name FROM node_t WHERE id = $1' }
  for (const id of [1, 2, 3]) {
    assert.equal((await client.query({ ...prepared, values: [id] })).rows[0].name, `name ${id}`)
  }
  const several = await client.query('SELECT 1 AS a; SELECT 2 AS b')
  assert.deepEqual(several.map((answer) => answer.rows), [[{ a: 1 }], [{ b: 2 }]])
  assert.deepEqual((await client.query("SELECT '{\"a\": [1, null]}'::jsonb AS j, now() AS n, ARRAY['x', NULL] AS l")).rows[0].j, { a: [1, null] })

  const chunks = []
  for await (const chunk of client.query(copyTo('COPY (SELECT id, name FROM node_t WHERE id < 2 ORDER BY id) TO STDOUT CSV'))) chunks.push(chunk)
  assert.equal(Buffer.concat(chunks).toString(), '0,name 0\n1,name 1\n')

  const cursor = client.query(new Cursor('SELECT id FROM node_t WHERE id < $1 ORDER BY id', [250]))
  const counts = []
  for (let part = await cursor.read(100); part.length > 0; part = await cursor.read(100)) counts.push(part.length)
  assert.deepEqual(counts, [100, 100, 50])
  await cursor.close()

  const other = new Client()
  await other.connect()
  const running = client.query('SELECT count(*) FROM generate_series(1, 1000000000000) g')
  const cancelled = assert.rejects(running, (error) => error.code === '57014')
  await new Promise((resolve) => setTimeout(resolve, 300))
  assert.equal((await other.query('SELECT pg_cancel_backend($1) AS done', [client.processID])).rows[0].done, true)
  await cancelled
  await other.end()

  await assert.rejects(client.query('SELECT id, nope FROM node_t WHERE id = $1', [1]), (error) => {
    assert.deepEqual([error.code, error.message, error.position, error.severity], ['42703', 'column "nope" does not exist', '12', 'ERROR'])
    return true
  })
  await assert.rejects(client.query('INSERT INTO node_t (id) VALUES (NULL)'), (error) => error.code === '23502' && error.column === 'id')
  let notice
  client.on('notice', (told) => { notice = told.message })
  await client.query('DROP TABLE IF EXISTS node_nope')
  assert.equal(notice, 'table "node_nope" does not exist, skipping')
  await client.query('BEGIN')
  await assert.rejects(client.query('SELECT nope'))
  await assert.rejects(client.query('SELECT 1'), (error) => error.code === '25P02')
  await client.query('ROLLBACK')
  await client.query('DROP TABLE node_t')
  await client.end()

  const pool = new Pool({ max: 5 })
  const answers = await Promise.all(Array.from({ length: 30 }, (_, i) => pool.query('SELECT $1::int AS n', [i])))
  assert.deepEqual(answers.map((answer) => answer.rows[0].n), Array.from({ length: 30 }, (_, i) => i))
  await pool.end()
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
