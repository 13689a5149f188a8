/* Statements that are written by hand, the same for both databases (db/statements.py). KEYS is a list of keys,
the parameter "keys" or the one named beside it; NOW is the time.

What an execution of one call gave ("result of execution") is what that gave: its job is made first, and its
label, or the tag "call" of one that has another label, begins with the task; a name without a dot may also be
that of an operator or a container. A number of "task counts" that is NULL stands for 0. SQLite takes no
LIMIT inside a union, but in a subquery. */

-- evaluations
SELECT e.eval_hash, e.trace_hash, e.checksum, v.value_hash, v.type_name, v.codec, v.payload_digest, v.size,
  v.inline, v.preview
  FROM evaluation e JOIN value v ON v.value_hash = e.value_hash WHERE e.eval_hash IN (KEYS)

-- values
SELECT value_hash, type_name, codec, payload_digest, size, inline, preview FROM value
  WHERE value_hash IN (KEYS)

-- value
SELECT value_hash, type_name, codec, payload_digest, size, inline, preview FROM value
  WHERE value_hash = :value_hash

-- code sets
SELECT task_hash, name, digest FROM dependency WHERE task_hash IN (KEYS)

-- code beside
SELECT code_hash FROM task WHERE task_hash = :task_hash

-- numbers of task
SELECT task_hash, task_no FROM task WHERE task_hash IN (KEYS)

-- numbers of execution
SELECT execution_id, execution_no FROM execution WHERE execution_id IN (KEYS)

-- numbers of call_node
SELECT call_hash, call_no FROM call_node WHERE call_hash IN (KEYS)

-- revision
SELECT version_num, (SELECT count(*) FROM repository) AS ours FROM alembic_version

-- settings
SELECT name, value FROM repository

-- signatures
SELECT value_hash, key_id, mac, payload_digest, size, inline FROM signature WHERE value_hash IN (KEYS)

-- keep signed
UPDATE signature SET inline = (SELECT v.inline FROM value v
  WHERE v.value_hash = signature.value_hash AND v.payload_digest = signature.payload_digest)
  WHERE value_hash IN (KEYS) AND payload_digest NOT IN (KEYS digests) AND inline IS NULL

-- finished
SELECT task_hash, args_hash, call_hash, task_set_hash, external_set_hash, calls, value_hash, checksum FROM
  (SELECT t.task_hash, c.args_hash, c.call_hash, c.task_set_hash, c.external_set_hash, c.calls, c.value_hash,
  c.checksum, row_number() OVER
  (PARTITION BY c.args_hash, c.task_no ORDER BY c.finished DESC, c.call_no DESC) AS place
  FROM call_node c JOIN task t ON t.task_no = c.task_no
  WHERE c.finished IS NOT NULL AND c.args_hash IN (KEYS) AND t.task_hash IN (KEYS tasks)) newest
  WHERE place = 1 AND checksum IS NOT NULL

-- set members
SELECT set_hash, member_hash, is_set FROM set_member WHERE set_hash IN (KEYS)

-- task names
SELECT task_hash, task_name FROM task WHERE task_hash IN (KEYS)

-- roll back
WITH RECURSIVE below(value_hash) AS (SELECT child_hash FROM handle_edge WHERE parent_hash IN (KEYS)
  UNION SELECT e.child_hash FROM handle_edge e JOIN below b ON e.parent_hash = b.value_hash)
  UPDATE handle SET is_valid = false WHERE value_hash IN (SELECT value_hash FROM below) AND is_valid

-- make current
UPDATE handle SET is_valid = true WHERE value_hash IN (KEYS) AND NOT is_valid

-- handle states
SELECT value_hash, is_valid FROM handle WHERE value_hash IN (KEYS)

-- beat
UPDATE execution SET updated = NOW WHERE execution_id IN (KEYS) AND status = 'running'

-- lease holders
SELECT l.call_key, l.job_id, l.execution_id, l.process, e.status, e.updated, NOW
  FROM call_lease l LEFT JOIN execution e ON e.execution_id = l.execution_id WHERE l.call_key IN (KEYS)

-- release
DELETE FROM call_lease WHERE call_key IN (KEYS) AND job_id IN (KEYS jobs)

-- end leases
DELETE FROM call_lease WHERE execution_id IN (KEYS)

-- evaluated by now
SELECT NOW, '' UNION ALL SELECT 0, eval_hash FROM evaluation WHERE eval_hash IN (KEYS)

-- collection
SELECT r.value, l.expires > NOW AS is_on FROM repository r LEFT JOIN lease l ON l.lease_id = 'collect'
  WHERE r.name = 'collection'

-- tags of
SELECT tag_id, entity, entity_id, key, value, value_digest, author, created, ended, ended_by FROM tag
  WHERE entity_id = :id AND entity = :entity ORDER BY tag_id

-- current tags of
SELECT tag_id, entity, entity_id, key, value, value_digest, author, created, ended, ended_by FROM tag
  WHERE entity_id = :id AND entity = :entity AND ended IS NULL ORDER BY tag_id

-- end tags
UPDATE tag SET ended = :at, ended_by = :author
  WHERE entity_id = :id AND entity = :entity AND ended IS NULL AND key = :of_key

-- end tag
UPDATE tag SET ended = :at, ended_by = :author
  WHERE entity_id = :id AND entity = :entity AND ended IS NULL AND key = :of_key
  AND value_digest = :value_digest

-- end tags but
UPDATE tag SET ended = :at, ended_by = :author
  WHERE entity_id = :id AND entity = :entity AND ended IS NULL AND key = :of_key
  AND value_digest NOT IN (KEYS)

-- by prefix
SELECT kind, record_id FROM (SELECT 'execution' AS kind, execution_id AS record_id FROM execution
  WHERE execution_id >= :low AND execution_id < :high ORDER BY execution_id LIMIT :most) of_execution
UNION ALL SELECT kind, record_id FROM (SELECT 'job' AS kind, job_id AS record_id FROM job
  WHERE job_id >= :low AND job_id < :high ORDER BY job_id LIMIT :most) of_job
UNION ALL SELECT kind, record_id FROM (SELECT 'call' AS kind, call_hash AS record_id FROM call_node
  WHERE call_hash >= :low AND call_hash < :high ORDER BY call_hash LIMIT :most) of_call
UNION ALL SELECT kind, record_id FROM (SELECT 'task' AS kind, task_hash AS record_id FROM task
  WHERE task_hash >= :low AND task_hash < :high ORDER BY task_hash LIMIT :most) of_task
UNION ALL SELECT kind, record_id FROM (SELECT 'value' AS kind, value_hash AS record_id FROM value
  WHERE value_hash >= :low AND value_hash < :high ORDER BY value_hash LIMIT :most) of_value
UNION ALL SELECT kind, record_id FROM (SELECT 'tag' AS kind, tag_id AS record_id FROM tag
  WHERE tag_id >= :low AND tag_id < :high ORDER BY tag_id LIMIT :most) of_tag
UNION ALL SELECT kind, record_id FROM (SELECT 'entry' AS kind, entry_id AS record_id FROM entry
  WHERE entry_id >= :low AND entry_id < :high ORDER BY entry_id LIMIT :most) of_entry

-- newest execution
SELECT execution_id FROM execution ORDER BY execution_no DESC LIMIT 1 OFFSET :steps

-- payload digests
SELECT payload_digest FROM payload ORDER BY payload_digest

-- task counts
SELECT t.task_name AS task, CAST(SUM(c.jobs) AS BIGINT) AS jobs,
  CAST(SUM(c.jobs) FILTER (WHERE c.status = 'done') AS BIGINT) AS executed,
  CAST(SUM(c.jobs) FILTER (WHERE c.status = 'cached') AS BIGINT) AS cached,
  CAST(SUM(c.jobs) FILTER (WHERE c.status = 'failed') AS BIGINT) AS failed,
  CAST(SUM(c.micros) AS BIGINT) AS seconds
  FROM task_count c LEFT JOIN task t ON t.task_no = c.task_no GROUP BY t.task_name ORDER BY t.task_name

-- describe execution
SELECT * FROM executions WHERE execution_id = :id

-- describe job
SELECT v.*, j.traceback FROM jobs v JOIN job j ON j.job_id = v.job_id WHERE v.job_id = :id

-- describe call
SELECT c.call_hash, t.task_name AS task, t.task_hash, c.args_hash, c.value_hash, v.preview AS result,
  c.task_set_hash, c.external_set_hash, c.replayable, COALESCE(c.calls, 1) AS calls
  FROM call_node c JOIN task t ON t.task_no = c.task_no LEFT JOIN value v ON v.value_hash = c.value_hash
  WHERE c.call_hash = :id

-- describe task
SELECT task_hash, task_name, version, source FROM task WHERE task_hash = :id

-- describe value
SELECT v.value_hash, v.type_name, v.codec, v.payload_digest, v.size, v.inline IS NOT NULL AS is_inline,
  v.preview, f.path
  FROM value v LEFT JOIN file f ON f.value_hash = v.value_hash WHERE v.value_hash = :id

-- describe file
SELECT path, kind AS file_kind, count(*) AS contents FROM file WHERE path = :id GROUP BY path, kind

-- describe tag
SELECT tag_id, entity, entity_id, key, value, author, created, ended, ended_by FROM tag
  WHERE tag_id = :id

-- result of call
SELECT value_hash FROM call_node WHERE call_hash = :id

-- result of job
SELECT c.value_hash FROM job j JOIN call_node c ON c.call_hash = j.call_hash WHERE j.job_id = :id

-- result of execution
SELECT c.value_hash FROM execution e JOIN job j ON j.execution_no = e.execution_no
  JOIN task t ON t.task_no = j.task_no JOIN call_node c ON c.call_hash = j.call_hash
  WHERE e.execution_id = :id
  AND j.job_id = (SELECT min(k.job_id) FROM job k WHERE k.execution_no = e.execution_no AND k.parent_id IS NULL)
  AND substr(COALESCE((SELECT g.value FROM tag g WHERE g.entity = 'execution' AND g.ended IS NULL
  AND g.entity_id = e.execution_id AND g.key = 'call'), '"' || e.label), 2, length(t.task_name) + 1)
  = t.task_name || '('
  AND replace(t.task_name, '.', '') <> t.task_name

-- calls made
SELECT c.call_hash, t.task_name AS task, COALESCE(c.calls, 1) AS calls, v.preview AS result
  FROM call_node p JOIN call_edge x ON x.parent_no = p.call_no
  JOIN call_node c ON c.call_no = x.child_no JOIN task t ON t.task_no = c.task_no
  LEFT JOIN value v ON v.value_hash = c.value_hash WHERE p.call_hash = :id
  ORDER BY x.position LIMIT :most

-- running of
SELECT * FROM running WHERE execution_id = :id ORDER BY started, job_id LIMIT :most

-- signed by
SELECT key_id FROM signature WHERE value_hash = :id ORDER BY key_id

-- arguments
SELECT a.name, v.type_name, v.preview, a.value_hash FROM argument a
  LEFT JOIN value v ON v.value_hash = a.value_hash WHERE a.args_hash = :id ORDER BY a.position

-- calls that gave
SELECT t.task_name AS task, c.call_hash FROM call_node c JOIN task t ON t.task_no = c.task_no
  WHERE c.value_hash = :id ORDER BY c.call_no LIMIT :most

-- calls given
SELECT t.task_name AS task, a.name AS parameter, c.call_hash FROM argument a
  JOIN call_node c ON c.args_hash = a.args_hash JOIN task t ON t.task_no = c.task_no
  WHERE a.value_hash = :id ORDER BY c.call_no LIMIT :most

-- by path or task
SELECT 'entry' AS kind, entry_id AS record_id FROM entry
  WHERE name = substr(:name, 9) AND substr(:name, 1, 8) = 'catalog:'
UNION ALL SELECT kind, record_id FROM (SELECT 'file' AS kind, path AS record_id FROM file
  WHERE path IN (:name, :normal) ORDER BY path <> :name LIMIT 1) of_path
UNION ALL SELECT kind, record_id FROM (SELECT 'task' AS kind, task_hash AS record_id FROM task
  WHERE task_name = :name ORDER BY task_no DESC LIMIT 1) of_name
UNION ALL SELECT kind, record_id FROM (SELECT 'called' AS kind, task_hash AS record_id FROM task
  WHERE task_no IN (SELECT max(task_no) FROM task
  WHERE substr(task_name, length(task_name) - length(:name)) = '.' || :name GROUP BY task_name)
  ORDER BY task_name LIMIT 10) of_ending

-- bytes
SELECT (SELECT COALESCE(SUM(size), 0) FROM value WHERE inline IS NOT NULL),
  (SELECT COALESCE(SUM(size), 0) FROM payload)

-- contents
SELECT f.value_hash, v.preview FROM file f LEFT JOIN value v ON v.value_hash = f.value_hash
  WHERE f.path = :id ORDER BY f.value_hash LIMIT :most

-- payloads of
SELECT payload_digest, size FROM payload WHERE payload_digest IN
  (SELECT payload_digest FROM value WHERE inline IS NULL AND value_hash IN (KEYS)
  UNION SELECT payload_digest FROM signature WHERE inline IS NULL AND value_hash IN (KEYS))

-- payloads of entries
SELECT payload_digest, size FROM payload WHERE payload_digest IN
  (SELECT payload_digest FROM entry_version WHERE value_hash IS NULL AND entry_id IN (KEYS))

-- classes of calls
SELECT call_hash, classes_hash FROM job
  WHERE call_hash IN (KEYS) AND status = 'done' AND classes_hash IS NOT NULL

-- calls of values
SELECT call_hash FROM call_node WHERE value_hash IN (KEYS)

-- jobs of execution
SELECT job_id FROM job
  WHERE job_id > :after AND execution_no = (SELECT execution_no FROM execution WHERE execution_id = :id)
  ORDER BY job_id LIMIT 500

-- calls of task
SELECT call_no, call_hash FROM call_node
  WHERE call_no > :number AND task_no = (SELECT task_no FROM task WHERE task_hash = :id)
  ORDER BY call_no LIMIT 500

-- idle executions
SELECT execution_id FROM execution WHERE execution_id IN (KEYS)
  AND NOT EXISTS (SELECT 1 FROM job WHERE job.execution_no = execution.execution_no)

-- recorded
SELECT value_hash FROM value WHERE value_hash IN (KEYS)

-- tagged key
SELECT entity, entity_id FROM tag WHERE ended IS NULL AND key = :of_key

-- tagged
SELECT entity, entity_id FROM tag
  WHERE ended IS NULL AND key = :of_key AND value_digest = :value_digest

-- forget tags
DELETE FROM tag WHERE ended IS NULL AND tag_id IN (KEYS)

-- end states
UPDATE handle SET is_valid = false WHERE value_hash IN (KEYS)

-- entries
SELECT e.name, e.version, e.created, e.deleted, v.payload_digest, v.size, v.value_hash, v.attrs, v.author,
  v.modified, v.execution_id FROM entry e
  LEFT JOIN entry_version v ON v.entry_id = e.entry_id AND v.version = e.version
  WHERE e.name IN (SELECT keys.value FROM (KEYS) keys)

-- entries from
SELECT e.name, e.version, e.created, e.deleted, v.payload_digest, v.size, v.value_hash, v.attrs, v.author,
  v.modified, v.execution_id FROM entry e
  JOIN entry_version v ON v.entry_id = e.entry_id AND v.version = e.version
  WHERE e.deleted IS NULL AND e.name >= :low AND e.name <= :high AND v.modified >= :since
  ORDER BY e.name LIMIT :most

-- entries with
SELECT e.name, e.version, e.created, e.deleted, v.payload_digest, v.size, v.value_hash, v.attrs, v.author,
  v.modified, v.execution_id
  FROM entry_attribute a JOIN entry e ON e.name = a.name
  JOIN entry_version v ON v.entry_id = e.entry_id AND v.version = e.version
  WHERE a.probe = :probe AND a.name >= :low AND a.name <= :high AND v.modified >= :since
  AND (SELECT count(*) FROM (KEYS) keys JOIN entry_attribute b ON b.probe = keys.value AND b.name = a.name) = :number
  ORDER BY a.name LIMIT :most

-- rarest
SELECT keys.value FROM (KEYS) keys ORDER BY (SELECT count(*) FROM
  (SELECT 1 FROM entry_attribute b WHERE b.probe = keys.value LIMIT 1000) found) LIMIT 1

-- entry names
SELECT e.name FROM entry e WHERE e.deleted IS NULL AND e.name >= :low AND e.name <= :high
  ORDER BY e.name LIMIT :most

-- versions of
SELECT e.name, v.version, e.created, NULL, v.payload_digest, v.size, v.value_hash, v.attrs, v.author,
  v.modified, v.execution_id FROM entry e JOIN entry_version v ON v.entry_id = e.entry_id
  WHERE e.name = :name ORDER BY v.version

-- forget attributes
DELETE FROM entry_attribute WHERE name = :of_name AND probe IN (SELECT keys.value FROM (KEYS) keys)

-- forget entry
DELETE FROM entry WHERE entry_id = :id

-- forget versions
DELETE FROM entry_version WHERE entry_id = :id

-- describe entry
SELECT e.entry_id, e.name, e.version, e.created, e.deleted, v.payload_digest, v.size, v.value_hash, v.attrs, v.author,
  v.modified, v.execution_id
  FROM entry e LEFT JOIN entry_version v ON v.entry_id = e.entry_id AND v.version = e.version
  WHERE e.entry_id = :id

-- result of entry
SELECT v.value_hash FROM entry e JOIN entry_version v ON v.entry_id = e.entry_id AND v.version = e.version
  WHERE e.entry_id = :id AND v.value_hash IS NOT NULL

-- bound to
SELECT v.value_hash, e.name FROM entry e
  LEFT JOIN entry_version v ON v.entry_id = e.entry_id AND v.version = e.version
  WHERE e.entry_id = :id

-- sizes by type
SELECT type_name, count(*), SUM(size) FROM value GROUP BY type_name ORDER BY SUM(size) DESC, type_name LIMIT 10

-- sizes by task
SELECT x.task_name, count(*), SUM(v.size) FROM (SELECT DISTINCT t.task_name, c.value_hash
  FROM call_node c JOIN task t ON t.task_no = c.task_no) x JOIN value v ON v.value_hash = x.value_hash
  GROUP BY x.task_name ORDER BY SUM(v.size) DESC, x.task_name LIMIT 10

-- sizes by age
SELECT CASE WHEN x.used >= NOW - 86400000000 THEN 'today' WHEN x.used >= NOW - 604800000000 THEN 'this week'
  WHEN x.used >= NOW - 2592000000000 THEN 'this month' WHEN x.used >= NOW - 31536000000000 THEN 'this year'
  ELSE 'older' END AS age, count(*), SUM(v.size)
  FROM (SELECT c.value_hash, MAX(j.started) AS used FROM job j
  JOIN call_node c ON c.call_hash = j.call_hash GROUP BY c.value_hash) x
  JOIN value v ON v.value_hash = x.value_hash GROUP BY 1 ORDER BY MAX(x.used) DESC

-- sizes of results
SELECT (SELECT SUM(v.size) FROM job j JOIN call_node c ON c.call_hash = j.call_hash
  JOIN value v ON v.value_hash = c.value_hash),
  (SELECT SUM(v.size) FROM value v WHERE v.value_hash IN (SELECT c.value_hash FROM call_node c))
