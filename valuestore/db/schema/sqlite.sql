-- insert argument
INSERT INTO argument (args_hash, position, name, value_hash) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING

-- insert argument_source
INSERT INTO argument_source (call_no, position, source_no) VALUES (?, ?, ?) ON CONFLICT DO NOTHING

-- insert call_edge
INSERT INTO call_edge (parent_no, position, child_no) VALUES (?, ?, ?) ON CONFLICT DO NOTHING

-- insert call_lease
INSERT INTO call_lease (call_key, job_id, execution_id, process, task_hash, started) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING

-- insert call_node
INSERT INTO call_node (call_hash, task_no, args_hash, value_hash, task_set_hash, external_set_hash, replayable, calls, finished, checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (call_hash) DO UPDATE SET task_set_hash = excluded.task_set_hash, external_set_hash = excluded.external_set_hash, replayable = excluded.replayable, calls = excluded.calls, finished = excluded.finished, checksum = excluded.checksum WHERE call_node.task_set_hash IS NOT excluded.task_set_hash OR call_node.external_set_hash IS NOT excluded.external_set_hash OR call_node.replayable IS NOT excluded.replayable OR call_node.calls IS NOT excluded.calls OR call_node.finished IS NOT excluded.finished OR call_node.checksum IS NOT excluded.checksum

-- insert dependency
INSERT INTO dependency (task_hash, name, digest, source) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING

-- insert entry
INSERT INTO entry (entry_id, name, version, created, deleted) VALUES (?, ?, ?, ?, ?) ON CONFLICT (entry_id) DO UPDATE SET version = excluded.version, created = excluded.created, deleted = excluded.deleted WHERE entry.version IS NOT excluded.version OR entry.created IS NOT excluded.created OR entry.deleted IS NOT excluded.deleted

-- insert entry_attribute
INSERT INTO entry_attribute (probe, name, "key") VALUES (?, ?, ?) ON CONFLICT DO NOTHING

-- insert entry_version
INSERT INTO entry_version (entry_id, version, payload_digest, size, value_hash, attrs, author, modified, execution_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING

-- insert evaluation
INSERT INTO evaluation (eval_hash, trace_hash, value_hash, checksum) VALUES (?, ?, ?, ?) ON CONFLICT (eval_hash, trace_hash) DO UPDATE SET value_hash = excluded.value_hash, checksum = excluded.checksum WHERE evaluation.value_hash IS NOT excluded.value_hash OR evaluation.checksum IS NOT excluded.checksum

-- insert execution
INSERT INTO execution (execution_id, label, status, started, ended, updated, command, replayed) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (execution_id) DO UPDATE SET status = excluded.status, ended = excluded.ended, updated = CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), replayed = excluded.replayed

-- insert file
INSERT INTO file (value_hash, path, kind) VALUES (?, ?, ?) ON CONFLICT DO NOTHING

-- insert handle
INSERT INTO handle (value_hash, name, class_name, "key", is_valid, created) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING

-- insert handle_edge
INSERT INTO handle_edge (parent_hash, child_hash) VALUES (?, ?) ON CONFLICT DO NOTHING

-- insert held
INSERT INTO held (value_hash, since) VALUES (?, coalesce(?, CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER))) ON CONFLICT (value_hash) DO UPDATE SET since = excluded.since

-- insert job
INSERT INTO job (job_id, execution_no, parent_id, task_no, call_hash, args_hash, status, started, ended, error, traceback, classes_hash, trace_hash, calls) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING

-- insert lease
INSERT INTO lease (lease_id, purpose, owner, started, expires) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING

-- insert payload
INSERT INTO payload (payload_digest, size) VALUES (?, ?) ON CONFLICT DO NOTHING

-- insert repository
INSERT INTO repository (name, value) VALUES (?, ?) ON CONFLICT DO NOTHING

-- insert set_member
INSERT INTO set_member (set_hash, member_hash, is_set) VALUES (?, ?, ?) ON CONFLICT DO NOTHING

-- insert signature
INSERT INTO signature (value_hash, key_id, mac, payload_digest, size, inline) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (value_hash, key_id) DO UPDATE SET mac = excluded.mac, payload_digest = excluded.payload_digest, size = excluded.size, inline = excluded.inline

-- insert subvalue
INSERT INTO subvalue (parent_hash, child_hash) VALUES (?, ?) ON CONFLICT DO NOTHING

-- insert tag
INSERT INTO tag (tag_id, entity, entity_id, "key", value, value_digest, author, created, ended, ended_by) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING

-- insert task
INSERT INTO task (task_hash, task_name, version, source, code_hash) VALUES (?, ?, ?, ?, ?) ON CONFLICT (task_hash) DO UPDATE SET code_hash = excluded.code_hash WHERE task.code_hash IS NOT excluded.code_hash

-- insert task_count
INSERT INTO task_count (task_no, status, lane, jobs, micros) VALUES (?, ?, ?, ?, ?) ON CONFLICT (task_no, status, lane) DO UPDATE SET jobs = (task_count.jobs + excluded.jobs), micros = (task_count.micros + excluded.micros)

-- insert value
INSERT INTO value (value_hash, type_name, codec, payload_digest, size, inline, preview) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (value_hash) DO UPDATE SET type_name = excluded.type_name, codec = excluded.codec, payload_digest = excluded.payload_digest, size = excluded.size, inline = excluded.inline, preview = excluded.preview WHERE NOT (value.type_name IS excluded.type_name AND value.codec IS excluded.codec AND value.payload_digest IS excluded.payload_digest AND value.inline IS excluded.inline)

-- evaluations
SELECT e.eval_hash, e.trace_hash, e.checksum, v.value_hash, v.type_name, v.codec, v.payload_digest, v.size, v.inline, v.preview FROM evaluation e JOIN value v ON v.value_hash = e.value_hash WHERE e.eval_hash IN (SELECT value FROM json_each(:keys))

-- values
SELECT value_hash, type_name, codec, payload_digest, size, inline, preview FROM value WHERE value_hash IN (SELECT value FROM json_each(:keys))

-- value
SELECT value_hash, type_name, codec, payload_digest, size, inline, preview FROM value WHERE value_hash = :value_hash

-- code sets
SELECT task_hash, name, digest FROM dependency WHERE task_hash IN (SELECT value FROM json_each(:keys))

-- code beside
SELECT code_hash FROM task WHERE task_hash = :task_hash

-- numbers of task
SELECT task_hash, task_no FROM task WHERE task_hash IN (SELECT value FROM json_each(:keys))

-- numbers of execution
SELECT execution_id, execution_no FROM execution WHERE execution_id IN (SELECT value FROM json_each(:keys))

-- numbers of call_node
SELECT call_hash, call_no FROM call_node WHERE call_hash IN (SELECT value FROM json_each(:keys))

-- revision
SELECT version_num, (SELECT count(*) FROM repository) AS ours FROM alembic_version

-- settings
SELECT name, value FROM repository

-- signatures
SELECT value_hash, key_id, mac, payload_digest, size, inline FROM signature WHERE value_hash IN (SELECT value FROM json_each(:keys))

-- keep signed
UPDATE signature SET inline = (SELECT v.inline FROM value v WHERE v.value_hash = signature.value_hash AND v.payload_digest = signature.payload_digest) WHERE value_hash IN (SELECT value FROM json_each(:keys)) AND payload_digest NOT IN (SELECT value FROM json_each(:digests)) AND inline IS NULL

-- finished
SELECT task_hash, args_hash, call_hash, task_set_hash, external_set_hash, calls, value_hash, checksum FROM (SELECT t.task_hash, c.args_hash, c.call_hash, c.task_set_hash, c.external_set_hash, c.calls, c.value_hash, c.checksum, row_number() OVER (PARTITION BY c.args_hash, c.task_no ORDER BY c.finished DESC, c.call_no DESC) AS place FROM call_node c JOIN task t ON t.task_no = c.task_no WHERE c.finished IS NOT NULL AND c.args_hash IN (SELECT value FROM json_each(:keys)) AND t.task_hash IN (SELECT value FROM json_each(:tasks))) newest WHERE place = 1 AND checksum IS NOT NULL

-- set members
SELECT set_hash, member_hash, is_set FROM set_member WHERE set_hash IN (SELECT value FROM json_each(:keys))

-- task names
SELECT task_hash, task_name FROM task WHERE task_hash IN (SELECT value FROM json_each(:keys))

-- roll back
WITH RECURSIVE below(value_hash) AS (SELECT child_hash FROM handle_edge WHERE parent_hash IN (SELECT value FROM json_each(:keys)) UNION SELECT e.child_hash FROM handle_edge e JOIN below b ON e.parent_hash = b.value_hash) UPDATE handle SET is_valid = false WHERE value_hash IN (SELECT value_hash FROM below) AND is_valid

-- make current
UPDATE handle SET is_valid = true WHERE value_hash IN (SELECT value FROM json_each(:keys)) AND NOT is_valid

-- handle states
SELECT value_hash, is_valid FROM handle WHERE value_hash IN (SELECT value FROM json_each(:keys))

-- beat
UPDATE execution SET updated = CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER) WHERE execution_id IN (SELECT value FROM json_each(:keys)) AND status = 'running'

-- lease holders
SELECT l.call_key, l.job_id, l.execution_id, l.process, e.status, e.updated, CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER) FROM call_lease l LEFT JOIN execution e ON e.execution_id = l.execution_id WHERE l.call_key IN (SELECT value FROM json_each(:keys))

-- release
DELETE FROM call_lease WHERE call_key IN (SELECT value FROM json_each(:keys)) AND job_id IN (SELECT value FROM json_each(:jobs))

-- end leases
DELETE FROM call_lease WHERE execution_id IN (SELECT value FROM json_each(:keys))

-- evaluated by now
SELECT CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER), '' UNION ALL SELECT 0, eval_hash FROM evaluation WHERE eval_hash IN (SELECT value FROM json_each(:keys))

-- collection
SELECT r.value, l.expires > CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER) AS is_on FROM repository r LEFT JOIN lease l ON l.lease_id = 'collect' WHERE r.name = 'collection'

-- tags of
SELECT tag_id, entity, entity_id, key, value, value_digest, author, created, ended, ended_by FROM tag WHERE entity_id = :id AND entity = :entity ORDER BY tag_id

-- current tags of
SELECT tag_id, entity, entity_id, key, value, value_digest, author, created, ended, ended_by FROM tag WHERE entity_id = :id AND entity = :entity AND ended IS NULL ORDER BY tag_id

-- end tags
UPDATE tag SET ended = :at, ended_by = :author WHERE entity_id = :id AND entity = :entity AND ended IS NULL AND key = :of_key

-- end tag
UPDATE tag SET ended = :at, ended_by = :author WHERE entity_id = :id AND entity = :entity AND ended IS NULL AND key = :of_key AND value_digest = :value_digest

-- end tags but
UPDATE tag SET ended = :at, ended_by = :author WHERE entity_id = :id AND entity = :entity AND ended IS NULL AND key = :of_key AND value_digest NOT IN (SELECT value FROM json_each(:keys))

-- by prefix
SELECT kind, record_id FROM (SELECT 'execution' AS kind, execution_id AS record_id FROM execution WHERE execution_id >= :low AND execution_id < :high ORDER BY execution_id LIMIT :most) of_execution UNION ALL SELECT kind, record_id FROM (SELECT 'job' AS kind, job_id AS record_id FROM job WHERE job_id >= :low AND job_id < :high ORDER BY job_id LIMIT :most) of_job UNION ALL SELECT kind, record_id FROM (SELECT 'call' AS kind, call_hash AS record_id FROM call_node WHERE call_hash >= :low AND call_hash < :high ORDER BY call_hash LIMIT :most) of_call UNION ALL SELECT kind, record_id FROM (SELECT 'task' AS kind, task_hash AS record_id FROM task WHERE task_hash >= :low AND task_hash < :high ORDER BY task_hash LIMIT :most) of_task UNION ALL SELECT kind, record_id FROM (SELECT 'value' AS kind, value_hash AS record_id FROM value WHERE value_hash >= :low AND value_hash < :high ORDER BY value_hash LIMIT :most) of_value UNION ALL SELECT kind, record_id FROM (SELECT 'tag' AS kind, tag_id AS record_id FROM tag WHERE tag_id >= :low AND tag_id < :high ORDER BY tag_id LIMIT :most) of_tag UNION ALL SELECT kind, record_id FROM (SELECT 'entry' AS kind, entry_id AS record_id FROM entry WHERE entry_id >= :low AND entry_id < :high ORDER BY entry_id LIMIT :most) of_entry

-- newest execution
SELECT execution_id FROM execution ORDER BY execution_no DESC LIMIT 1 OFFSET :steps

-- payload digests
SELECT payload_digest FROM payload ORDER BY payload_digest

-- task counts
SELECT t.task_name AS task, CAST(SUM(c.jobs) AS BIGINT) AS jobs, CAST(SUM(c.jobs) FILTER (WHERE c.status = 'done') AS BIGINT) AS executed, CAST(SUM(c.jobs) FILTER (WHERE c.status = 'cached') AS BIGINT) AS cached, CAST(SUM(c.jobs) FILTER (WHERE c.status = 'failed') AS BIGINT) AS failed, CAST(SUM(c.micros) AS BIGINT) AS seconds FROM task_count c LEFT JOIN task t ON t.task_no = c.task_no GROUP BY t.task_name ORDER BY t.task_name

-- describe execution
SELECT * FROM executions WHERE execution_id = :id

-- describe job
SELECT v.*, j.traceback FROM jobs v JOIN job j ON j.job_id = v.job_id WHERE v.job_id = :id

-- describe call
SELECT c.call_hash, t.task_name AS task, t.task_hash, c.args_hash, c.value_hash, v.preview AS result, c.task_set_hash, c.external_set_hash, c.replayable, COALESCE(c.calls, 1) AS calls FROM call_node c JOIN task t ON t.task_no = c.task_no LEFT JOIN value v ON v.value_hash = c.value_hash WHERE c.call_hash = :id

-- describe task
SELECT task_hash, task_name, version, source FROM task WHERE task_hash = :id

-- describe value
SELECT v.value_hash, v.type_name, v.codec, v.payload_digest, v.size, v.inline IS NOT NULL AS is_inline, v.preview, f.path FROM value v LEFT JOIN file f ON f.value_hash = v.value_hash WHERE v.value_hash = :id

-- describe file
SELECT path, kind AS file_kind, count(*) AS contents FROM file WHERE path = :id GROUP BY path, kind

-- describe tag
SELECT tag_id, entity, entity_id, key, value, author, created, ended, ended_by FROM tag WHERE tag_id = :id

-- result of call
SELECT value_hash FROM call_node WHERE call_hash = :id

-- result of job
SELECT c.value_hash FROM job j JOIN call_node c ON c.call_hash = j.call_hash WHERE j.job_id = :id

-- result of execution
SELECT c.value_hash FROM execution e JOIN job j ON j.execution_no = e.execution_no JOIN task t ON t.task_no = j.task_no JOIN call_node c ON c.call_hash = j.call_hash WHERE e.execution_id = :id AND j.job_id = (SELECT min(k.job_id) FROM job k WHERE k.execution_no = e.execution_no AND k.parent_id IS NULL) AND substr(COALESCE((SELECT g.value FROM tag g WHERE g.entity = 'execution' AND g.ended IS NULL AND g.entity_id = e.execution_id AND g.key = 'call'), '"' || e.label), 2, length(t.task_name) + 1) = t.task_name || '(' AND replace(t.task_name, '.', '') <> t.task_name

-- calls made
SELECT c.call_hash, t.task_name AS task, COALESCE(c.calls, 1) AS calls, v.preview AS result FROM call_node p JOIN call_edge x ON x.parent_no = p.call_no JOIN call_node c ON c.call_no = x.child_no JOIN task t ON t.task_no = c.task_no LEFT JOIN value v ON v.value_hash = c.value_hash WHERE p.call_hash = :id ORDER BY x.position LIMIT :most

-- running of
SELECT * FROM running WHERE execution_id = :id ORDER BY started, job_id LIMIT :most

-- signed by
SELECT key_id FROM signature WHERE value_hash = :id ORDER BY key_id

-- arguments
SELECT a.name, v.type_name, v.preview, a.value_hash FROM argument a LEFT JOIN value v ON v.value_hash = a.value_hash WHERE a.args_hash = :id ORDER BY a.position

-- calls that gave
SELECT t.task_name AS task, c.call_hash FROM call_node c JOIN task t ON t.task_no = c.task_no WHERE c.value_hash = :id ORDER BY c.call_no LIMIT :most

-- calls given
SELECT t.task_name AS task, a.name AS parameter, c.call_hash FROM argument a JOIN call_node c ON c.args_hash = a.args_hash JOIN task t ON t.task_no = c.task_no WHERE a.value_hash = :id ORDER BY c.call_no LIMIT :most

-- by path or task
SELECT 'entry' AS kind, entry_id AS record_id FROM entry WHERE name = substr(:name, 9) AND substr(:name, 1, 8) = 'catalog:' UNION ALL SELECT kind, record_id FROM (SELECT 'file' AS kind, path AS record_id FROM file WHERE path IN (:name, :normal) ORDER BY path <> :name LIMIT 1) of_path UNION ALL SELECT kind, record_id FROM (SELECT 'task' AS kind, task_hash AS record_id FROM task WHERE task_name = :name ORDER BY task_no DESC LIMIT 1) of_name UNION ALL SELECT kind, record_id FROM (SELECT 'called' AS kind, task_hash AS record_id FROM task WHERE task_no IN (SELECT max(task_no) FROM task WHERE substr(task_name, length(task_name) - length(:name)) = '.' || :name GROUP BY task_name) ORDER BY task_name LIMIT 10) of_ending

-- bytes
SELECT (SELECT COALESCE(SUM(size), 0) FROM value WHERE inline IS NOT NULL), (SELECT COALESCE(SUM(size), 0) FROM payload)

-- contents
SELECT f.value_hash, v.preview FROM file f LEFT JOIN value v ON v.value_hash = f.value_hash WHERE f.path = :id ORDER BY f.value_hash LIMIT :most

-- payloads of
SELECT payload_digest, size FROM payload WHERE payload_digest IN (SELECT payload_digest FROM value WHERE inline IS NULL AND value_hash IN (SELECT value FROM json_each(:keys)) UNION SELECT payload_digest FROM signature WHERE inline IS NULL AND value_hash IN (SELECT value FROM json_each(:keys)))

-- payloads of entries
SELECT payload_digest, size FROM payload WHERE payload_digest IN (SELECT payload_digest FROM entry_version WHERE value_hash IS NULL AND entry_id IN (SELECT value FROM json_each(:keys)))

-- classes of calls
SELECT call_hash, classes_hash FROM job WHERE call_hash IN (SELECT value FROM json_each(:keys)) AND status = 'done' AND classes_hash IS NOT NULL

-- calls of values
SELECT call_hash FROM call_node WHERE value_hash IN (SELECT value FROM json_each(:keys))

-- jobs of execution
SELECT job_id FROM job WHERE job_id > :after AND execution_no = (SELECT execution_no FROM execution WHERE execution_id = :id) ORDER BY job_id LIMIT 500

-- calls of task
SELECT call_no, call_hash FROM call_node WHERE call_no > :number AND task_no = (SELECT task_no FROM task WHERE task_hash = :id) ORDER BY call_no LIMIT 500

-- idle executions
SELECT execution_id FROM execution WHERE execution_id IN (SELECT value FROM json_each(:keys)) AND NOT EXISTS (SELECT 1 FROM job WHERE job.execution_no = execution.execution_no)

-- recorded
SELECT value_hash FROM value WHERE value_hash IN (SELECT value FROM json_each(:keys))

-- tagged key
SELECT entity, entity_id FROM tag WHERE ended IS NULL AND key = :of_key

-- tagged
SELECT entity, entity_id FROM tag WHERE ended IS NULL AND key = :of_key AND value_digest = :value_digest

-- forget tags
DELETE FROM tag WHERE ended IS NULL AND tag_id IN (SELECT value FROM json_each(:keys))

-- end states
UPDATE handle SET is_valid = false WHERE value_hash IN (SELECT value FROM json_each(:keys))

-- entries
SELECT e.name, e.version, e.created, e.deleted, v.payload_digest, v.size, v.value_hash, v.attrs, v.author, v.modified, v.execution_id FROM entry e LEFT JOIN entry_version v ON v.entry_id = e.entry_id AND v.version = e.version WHERE e.name IN (SELECT keys.value FROM (SELECT value FROM json_each(:keys)) keys)

-- entries from
SELECT e.name, e.version, e.created, e.deleted, v.payload_digest, v.size, v.value_hash, v.attrs, v.author, v.modified, v.execution_id FROM entry e JOIN entry_version v ON v.entry_id = e.entry_id AND v.version = e.version WHERE e.deleted IS NULL AND e.name >= :low AND e.name <= :high AND v.modified >= :since ORDER BY e.name LIMIT :most

-- entries with
SELECT e.name, e.version, e.created, e.deleted, v.payload_digest, v.size, v.value_hash, v.attrs, v.author, v.modified, v.execution_id FROM entry_attribute a JOIN entry e ON e.name = a.name JOIN entry_version v ON v.entry_id = e.entry_id AND v.version = e.version WHERE a.probe = :probe AND a.name >= :low AND a.name <= :high AND v.modified >= :since AND (SELECT count(*) FROM (SELECT value FROM json_each(:keys)) keys JOIN entry_attribute b ON b.probe = keys.value AND b.name = a.name) = :number ORDER BY a.name LIMIT :most

-- rarest
SELECT keys.value FROM (SELECT value FROM json_each(:keys)) keys ORDER BY (SELECT count(*) FROM (SELECT 1 FROM entry_attribute b WHERE b.probe = keys.value LIMIT 1000) found) LIMIT 1

-- entry names
SELECT e.name FROM entry e WHERE e.deleted IS NULL AND e.name >= :low AND e.name <= :high ORDER BY e.name LIMIT :most

-- versions of
SELECT e.name, v.version, e.created, NULL, v.payload_digest, v.size, v.value_hash, v.attrs, v.author, v.modified, v.execution_id FROM entry e JOIN entry_version v ON v.entry_id = e.entry_id WHERE e.name = :name ORDER BY v.version

-- forget attributes
DELETE FROM entry_attribute WHERE name = :of_name AND probe IN (SELECT keys.value FROM (SELECT value FROM json_each(:keys)) keys)

-- forget entry
DELETE FROM entry WHERE entry_id = :id

-- forget versions
DELETE FROM entry_version WHERE entry_id = :id

-- describe entry
SELECT e.entry_id, e.name, e.version, e.created, e.deleted, v.payload_digest, v.size, v.value_hash, v.attrs, v.author, v.modified, v.execution_id FROM entry e LEFT JOIN entry_version v ON v.entry_id = e.entry_id AND v.version = e.version WHERE e.entry_id = :id

-- result of entry
SELECT v.value_hash FROM entry e JOIN entry_version v ON v.entry_id = e.entry_id AND v.version = e.version WHERE e.entry_id = :id AND v.value_hash IS NOT NULL

-- bound to
SELECT v.value_hash, e.name FROM entry e LEFT JOIN entry_version v ON v.entry_id = e.entry_id AND v.version = e.version WHERE e.entry_id = :id

-- sizes by type
SELECT type_name, count(*), SUM(size) FROM value GROUP BY type_name ORDER BY SUM(size) DESC, type_name LIMIT 10

-- sizes by task
SELECT x.task_name, count(*), SUM(v.size) FROM (SELECT DISTINCT t.task_name, c.value_hash FROM call_node c JOIN task t ON t.task_no = c.task_no) x JOIN value v ON v.value_hash = x.value_hash GROUP BY x.task_name ORDER BY SUM(v.size) DESC, x.task_name LIMIT 10

-- sizes by age
SELECT CASE WHEN x.used >= CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER) - 86400000000 THEN 'today' WHEN x.used >= CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER) - 604800000000 THEN 'this week' WHEN x.used >= CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER) - 2592000000000 THEN 'this month' WHEN x.used >= CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER) - 31536000000000 THEN 'this year' ELSE 'older' END AS age, count(*), SUM(v.size) FROM (SELECT c.value_hash, MAX(j.started) AS used FROM job j JOIN call_node c ON c.call_hash = j.call_hash GROUP BY c.value_hash) x JOIN value v ON v.value_hash = x.value_hash GROUP BY 1 ORDER BY MAX(x.used) DESC

-- sizes of results
SELECT (SELECT SUM(v.size) FROM job j JOIN call_node c ON c.call_hash = j.call_hash JOIN value v ON v.value_hash = c.value_hash), (SELECT SUM(v.size) FROM value v WHERE v.value_hash IN (SELECT c.value_hash FROM call_node c))

-- share task
SELECT task_hash, task_name, version, source, code_hash FROM task WHERE task_hash IN (SELECT value FROM json_each(:keys))

-- there task
SELECT task_hash FROM task WHERE task_hash IN (SELECT value FROM json_each(:keys))

-- page task
SELECT DISTINCT task_hash FROM task WHERE task_hash > :after ORDER BY 1 LIMIT 500

-- share code
SELECT task_hash, name, digest, source FROM dependency WHERE task_hash IN (SELECT value FROM json_each(:keys))

-- there code
SELECT task_hash, name FROM dependency WHERE task_hash IN (SELECT value FROM json_each(:keys))

-- page code
SELECT DISTINCT task_hash FROM dependency WHERE task_hash > :after ORDER BY 1 LIMIT 500

-- share payload
SELECT payload_digest, size FROM payload WHERE payload_digest IN (SELECT value FROM json_each(:keys))

-- there payload
SELECT payload_digest FROM payload WHERE payload_digest IN (SELECT value FROM json_each(:keys))

-- share value
SELECT value_hash, type_name, codec, payload_digest, size, inline, preview FROM value WHERE value_hash IN (SELECT value FROM json_each(:keys))

-- there value
SELECT value_hash FROM value WHERE value_hash IN (SELECT value FROM json_each(:keys)) AND codec <> 'dropped'

-- page value
SELECT DISTINCT value_hash FROM value WHERE value_hash > :after ORDER BY 1 LIMIT 500

-- share signature
SELECT s.value_hash, s.key_id, s.mac, s.payload_digest, s.size, COALESCE(s.inline,v.inline) FROM signature s LEFT JOIN value v ON v.value_hash = s.value_hash AND v.payload_digest = s.payload_digest WHERE s.value_hash IN (SELECT value FROM json_each(:keys))

-- there signature
SELECT s.value_hash, s.key_id FROM signature s LEFT JOIN value v ON v.value_hash = s.value_hash AND v.payload_digest = s.payload_digest WHERE s.value_hash IN (SELECT value FROM json_each(:keys))

-- share held
SELECT value_hash, since FROM held WHERE value_hash IN (SELECT value FROM json_each(:keys))

-- there held
SELECT value_hash FROM held WHERE value_hash IN (SELECT value FROM json_each(:keys))

-- share subvalue
SELECT parent_hash, child_hash FROM subvalue WHERE parent_hash IN (SELECT value FROM json_each(:keys))

-- there subvalue
SELECT parent_hash, child_hash FROM subvalue WHERE parent_hash IN (SELECT value FROM json_each(:keys))

-- share file
SELECT value_hash, path, kind FROM file WHERE value_hash IN (SELECT value FROM json_each(:keys))

-- there file
SELECT value_hash FROM file WHERE value_hash IN (SELECT value FROM json_each(:keys))

-- share handle
SELECT value_hash, name, class_name, key, is_valid, created FROM handle WHERE value_hash IN (SELECT value FROM json_each(:keys))

-- there handle
SELECT value_hash, is_valid FROM handle WHERE value_hash IN (SELECT value FROM json_each(:keys))

-- share handle_edge
SELECT parent_hash, child_hash FROM handle_edge WHERE child_hash IN (SELECT value FROM json_each(:keys))

-- there handle_edge
SELECT parent_hash, child_hash FROM handle_edge WHERE child_hash IN (SELECT value FROM json_each(:keys))

-- share set
SELECT set_hash, member_hash, is_set FROM set_member WHERE set_hash IN (SELECT value FROM json_each(:keys))

-- there set
SELECT set_hash, member_hash FROM set_member WHERE set_hash IN (SELECT value FROM json_each(:keys))

-- page set
SELECT DISTINCT set_hash FROM set_member WHERE set_hash > :after ORDER BY 1 LIMIT 500

-- share args
SELECT args_hash, position, name, value_hash FROM argument WHERE args_hash IN (SELECT value FROM json_each(:keys))

-- there args
SELECT args_hash, position FROM argument WHERE args_hash IN (SELECT value FROM json_each(:keys))

-- page args
SELECT DISTINCT args_hash FROM argument WHERE args_hash > :after ORDER BY 1 LIMIT 500

-- share call
SELECT c.call_hash, t.task_hash, c.args_hash, c.value_hash, c.task_set_hash, c.external_set_hash, c.replayable, c.calls, c.finished, c.checksum FROM call_node c JOIN task t ON t.task_no = c.task_no WHERE c.call_hash IN (SELECT value FROM json_each(:keys))

-- there call
SELECT c.call_hash FROM call_node c JOIN task t ON t.task_no = c.task_no WHERE c.call_hash IN (SELECT value FROM json_each(:keys))

-- page call
SELECT DISTINCT c.call_hash FROM call_node c JOIN task t ON t.task_no = c.task_no WHERE c.call_hash > :after ORDER BY 1 LIMIT 500

-- share edge
SELECT p.call_hash, e.position, c.call_hash FROM call_edge e JOIN call_node p ON p.call_no = e.parent_no JOIN call_node c ON c.call_no = e.child_no WHERE p.call_hash IN (SELECT value FROM json_each(:keys))

-- there edge
SELECT p.call_hash, e.position FROM call_edge e JOIN call_node p ON p.call_no = e.parent_no JOIN call_node c ON c.call_no = e.child_no WHERE p.call_hash IN (SELECT value FROM json_each(:keys))

-- share source
SELECT p.call_hash, e.position, c.call_hash FROM argument_source e JOIN call_node p ON p.call_no = e.call_no JOIN call_node c ON c.call_no = e.source_no WHERE p.call_hash IN (SELECT value FROM json_each(:keys))

-- there source
SELECT p.call_hash, e.position, c.call_hash FROM argument_source e JOIN call_node p ON p.call_no = e.call_no JOIN call_node c ON c.call_no = e.source_no WHERE p.call_hash IN (SELECT value FROM json_each(:keys))

-- share evaluation
SELECT eval_hash, trace_hash, value_hash, checksum FROM evaluation WHERE eval_hash IN (SELECT value FROM json_each(:keys))

-- there evaluation
SELECT eval_hash, trace_hash FROM evaluation WHERE eval_hash IN (SELECT value FROM json_each(:keys))

-- page evaluation
SELECT DISTINCT eval_hash FROM evaluation WHERE eval_hash > :after ORDER BY 1 LIMIT 500

-- share execution
SELECT execution_id, label, status, started, ended, updated, command, replayed FROM execution WHERE execution_id IN (SELECT value FROM json_each(:keys))

-- there execution
SELECT execution_id, status FROM execution WHERE execution_id IN (SELECT value FROM json_each(:keys))

-- page execution
SELECT DISTINCT execution_id FROM execution WHERE execution_id > :after ORDER BY 1 LIMIT 500

-- share job
SELECT j.job_id, e.execution_id, j.parent_id, t.task_hash, j.call_hash, j.args_hash, j.status, j.started, j.ended, j.error, j.traceback, j.classes_hash, j.trace_hash, j.calls FROM job j JOIN execution e ON e.execution_no = j.execution_no JOIN task t ON t.task_no = j.task_no WHERE j.job_id IN (SELECT value FROM json_each(:keys))

-- there job
SELECT j.job_id FROM job j JOIN execution e ON e.execution_no = j.execution_no JOIN task t ON t.task_no = j.task_no WHERE j.job_id IN (SELECT value FROM json_each(:keys))

-- page job
SELECT DISTINCT j.job_id FROM job j JOIN execution e ON e.execution_no = j.execution_no JOIN task t ON t.task_no = j.task_no WHERE j.job_id > :after ORDER BY 1 LIMIT 500

-- share entry
SELECT e.entry_id, v.version, e.name, e.created, e.version, e.deleted, v.payload_digest, v.size, v.value_hash, v.attrs, v.author, v.modified, v.execution_id FROM entry e JOIN entry_version v ON v.entry_id = e.entry_id WHERE e.entry_id IN (SELECT value FROM json_each(:keys))

-- there entry
SELECT e.entry_id, v.version FROM entry e JOIN entry_version v ON v.entry_id = e.entry_id WHERE e.entry_id IN (SELECT value FROM json_each(:keys))

-- page entry
SELECT DISTINCT e.entry_id FROM entry e JOIN entry_version v ON v.entry_id = e.entry_id WHERE e.entry_id > :after ORDER BY 1 LIMIT 500

-- share tag
SELECT tag_id, entity, entity_id, key, value, value_digest, author, created, ended, ended_by FROM tag WHERE entity_id IN (SELECT value FROM json_each(:keys))

-- there tag
SELECT tag_id, ended FROM tag WHERE entity_id IN (SELECT value FROM json_each(:keys))

-- page tag
SELECT DISTINCT entity_id FROM tag WHERE entity_id > :after ORDER BY 1 LIMIT 500

-- counts
SELECT 'argument', count(*) AS count_1
FROM argument UNION ALL SELECT 'argument_source', count(*) AS count_2
FROM argument_source UNION ALL SELECT 'call_edge', count(*) AS count_3
FROM call_edge UNION ALL SELECT 'call_lease', count(*) AS count_4
FROM call_lease UNION ALL SELECT 'call_node', count(*) AS count_5
FROM call_node UNION ALL SELECT 'dependency', count(*) AS count_6
FROM dependency UNION ALL SELECT 'entry', count(*) AS count_7
FROM entry UNION ALL SELECT 'entry_attribute', count(*) AS count_8
FROM entry_attribute UNION ALL SELECT 'entry_version', count(*) AS count_9
FROM entry_version UNION ALL SELECT 'evaluation', count(*) AS count_10
FROM evaluation UNION ALL SELECT 'execution', count(*) AS count_11
FROM execution UNION ALL SELECT 'file', count(*) AS count_12
FROM file UNION ALL SELECT 'handle', count(*) AS count_13
FROM handle UNION ALL SELECT 'handle_edge', count(*) AS count_14
FROM handle_edge UNION ALL SELECT 'held', count(*) AS count_15
FROM held UNION ALL SELECT 'job', count(*) AS count_16
FROM job UNION ALL SELECT 'lease', count(*) AS count_17
FROM lease UNION ALL SELECT 'payload', count(*) AS count_18
FROM payload UNION ALL SELECT 'repository', count(*) AS count_19
FROM repository UNION ALL SELECT 'set_member', count(*) AS count_20
FROM set_member UNION ALL SELECT 'signature', count(*) AS count_21
FROM signature UNION ALL SELECT 'subvalue', count(*) AS count_22
FROM subvalue UNION ALL SELECT 'tag', count(*) AS count_23
FROM tag UNION ALL SELECT 'task', count(*) AS count_24
FROM task UNION ALL SELECT 'task_count', count(*) AS count_25
FROM task_count UNION ALL SELECT 'value', count(*) AS count_26
FROM value

-- newest executions
WITH page AS
(SELECT execution.execution_no AS execution_no, execution.execution_id AS execution_id, execution.label AS label, execution.started AS started, execution.ended AS ended, execution.command AS command, CASE WHEN execution.status = 'running' AND COALESCE(execution.updated, execution.started) < CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER) - 30000000 THEN 'crashed' ELSE execution.status END AS status, execution.ended - execution.started AS seconds, coalesce(execution.replayed, 0) AS replayed, execution.execution_no AS place_0, execution.execution_id AS place_1
FROM execution ORDER BY execution.execution_no DESC, execution.execution_id DESC
 LIMIT :most OFFSET 0)
 SELECT page.execution_no, page.execution_id, page.label, page.started, page.ended, page.command, page.status, page.seconds, page.replayed, page.place_0, page.place_1, counts.jobs, counts.executed, coalesce(counts.cached, 0) + page.replayed AS cached, counts.failed
FROM page LEFT OUTER JOIN (SELECT job.execution_no AS execution_no, count(*) AS jobs, count(CASE WHEN (job.status = 'done') THEN 1 END) AS executed, count(CASE WHEN (job.status = 'cached') THEN 1 END) AS cached, count(CASE WHEN (job.status = 'failed') THEN 1 END) AS failed
FROM job
WHERE job.execution_no IN (SELECT page.execution_no
FROM page) GROUP BY job.execution_no) AS counts ON counts.execution_no = page.execution_no ORDER BY page.place_0 DESC, page.place_1 DESC

-- newest jobs
SELECT job.job_id AS job_id, job.parent_id AS parent_id, job.status AS status, job.started AS started, job.error AS error, job.call_hash AS call_hash, execution.execution_id AS execution_id, task.task_name AS task, task.task_hash AS task_hash, job.ended - job.started AS seconds, result.type_name AS result_type, result.preview AS result, coalesce(call_node.args_hash, job.args_hash) AS args_hash, call_node.value_hash AS value_hash, coalesce(job.calls, 1) AS calls, job.job_id AS place_0
FROM job LEFT OUTER JOIN execution ON execution.execution_no = job.execution_no LEFT OUTER JOIN task ON task.task_no = job.task_no LEFT OUTER JOIN call_node ON call_node.call_hash = job.call_hash LEFT OUTER JOIN value AS result ON result.value_hash = call_node.value_hash ORDER BY job.job_id DESC
 LIMIT :most OFFSET 0

-- jobs of
SELECT job.job_id AS job_id, job.parent_id AS parent_id, job.status AS status, job.started AS started, job.error AS error, job.call_hash AS call_hash, execution.execution_id AS execution_id, task.task_name AS task, task.task_hash AS task_hash, job.ended - job.started AS seconds, result.type_name AS result_type, result.preview AS result, coalesce(call_node.args_hash, job.args_hash) AS args_hash, call_node.value_hash AS value_hash, coalesce(job.calls, 1) AS calls, job.job_id AS place_0
FROM job LEFT OUTER JOIN execution ON execution.execution_no = job.execution_no LEFT OUTER JOIN task ON task.task_no = job.task_no LEFT OUTER JOIN call_node ON call_node.call_hash = job.call_hash LEFT OUTER JOIN value AS result ON result.value_hash = call_node.value_hash
WHERE job.execution_no IN (SELECT execution.execution_no
FROM execution
WHERE execution.execution_id = :id) ORDER BY job.job_id
 LIMIT :most OFFSET 0
