;; A `next` with the number 7, of which there are three.
(func $deployed (param i32) (result i32)
  (i32.store8 (i32.const 4100) (i32.const 7))
  (i32.const 4096))
