;; Each stays below the limit; together they are above it.
(table $one 1 funcref)
(table $two 1 funcref)
(func $prepare (param i32) (result i32)
  (drop (table.grow $one (ref.null func) (i32.const 120000)))
  (drop (table.grow $two (ref.null func) (i32.const 120000)))
  (call $empty-answer))
