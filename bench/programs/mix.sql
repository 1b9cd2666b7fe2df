-- Two tables, an index, joins, updates and groups; @N@ is the number of rows.
PRAGMA journal_mode = OFF;
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, kind INTEGER, price INTEGER);
CREATE TABLE sale (id INTEGER PRIMARY KEY, item INTEGER, amount INTEGER, day INTEGER);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < @N@ / 10)
INSERT INTO item SELECT i, printf('item-%05d', i * 7919 % 10007), i % 17, i * 31 % 1000 FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < @N@)
INSERT INTO sale SELECT i, 1 + i * 7919 % (@N@ / 10), i * 13 % 50, i % 365 FROM n;
COMMIT;
CREATE INDEX by_item ON sale (item);
CREATE INDEX by_name ON item (name);
SELECT kind, count(*), sum(amount * price), min(day), max(name) FROM sale JOIN item ON item.id = sale.item GROUP BY kind ORDER BY kind;
SELECT name, (SELECT sum(amount) FROM sale WHERE sale.item = item.id) s FROM item WHERE name LIKE 'item-01%' ORDER BY s DESC, name LIMIT 20;
UPDATE sale SET amount = amount + 1 WHERE item IN (SELECT id FROM item WHERE kind = 3);
DELETE FROM sale WHERE day BETWEEN 100 AND 120;
SELECT day / 30, sum(amount), count(DISTINCT item) FROM sale GROUP BY 1 ORDER BY 1;
SELECT group_concat(substr(upper(name), 6), '') FROM (SELECT name FROM item ORDER BY name LIMIT 100);
