;; It wants to see files outside of the app. An input is a glob, a number of bytes, a number of files.
(data (i32.const 64) "../../*")
(func $describe (result i32)
  (drop (call $describe-evil))
  (i32.store (i32.const 2048) (i32.const 64))
  (i32.store (i32.const 2052) (i32.const 7))
  (i32.store (i32.const 1064) (i32.const 2048))
  (i32.store (i32.const 1068) (i32.const 1))
  (i32.const 1024))
