;; A problem, which is an answer. The text tries to move the cursor.
(data (i32.const 64) "no \1b[2Jway")
(func $prepare (param i32) (result i32)
  (i32.store (i32.const 4096) (i32.const 1))
  (i32.store (i32.const 4100) (i32.const 64))
  (i32.store (i32.const 4104) (i32.const 10))
  (i32.const 4096))
