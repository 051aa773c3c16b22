;; One line of 16 MiB.
(func $prepare (param i32) (result i32)
  (drop (memory.grow 0 (i32.const 300)))
  (call $say (i32.const 131072) (i32.const 16777216))
  (call $empty-answer))
