/* Statements that are written by hand, the same for both databases (kept.py). KEYS are a list of keys.

What an execution of one call gave ("result of execution") is what that gave: its job is made first, and its
label, or the tag "call" of one that has another label, begins with the task; a name without a dot may also be
that of an operator or a container. */

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
