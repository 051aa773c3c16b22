;; It wants to write below /etc. The list of paths is the ninth of the record of powers' six lists, at 1024 + 96.
(data (i32.const 64) "/etc")
(func $describe (result i32)
  (drop (call $describe-evil))
  (i32.store (i32.const 2048) (i32.const 64))
  (i32.store (i32.const 2052) (i32.const 4))
  (i32.store (i32.const 1112) (i32.const 2048))
  (i32.store (i32.const 1116) (i32.const 1))
  (i32.const 1024))
