;; Each of these stays below the limit; together they are above it.
(memory $second 1)
(memory $third 1)
(func $prepare (param i32) (result i32)
  (drop (memory.grow 0 (i32.const 400)))
  (drop (memory.grow $second (i32.const 400)))
  (drop (memory.grow $third (i32.const 400)))
  (call $empty-answer))
