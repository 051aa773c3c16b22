;; A problem whose message is 16 MiB long.
(func $prepare (param i32) (result i32)
  (drop (memory.grow 0 (i32.const 300)))
  (i32.store (i32.const 4096) (i32.const 1))
  (i32.store (i32.const 4100) (i32.const 131072))
  (i32.store (i32.const 4104) (i32.const 16777216))
  (i32.const 4096))
