# What follows `cargo xtask`, for Elvish. All else that cargo does is left to the completion that it had.
use str

var cargo-xtask-other = $nil
if (has-key $edit:completion:arg-completer cargo) {
  set cargo-xtask-other = $edit:completion:arg-completer[cargo]
}
set edit:completion:arg-completer[cargo] = {|@words|
  if (and (> (count $words) 2) (eq $words[1] xtask)) {
    ('@PROGRAM@' completions -- (all $words[2..]) | each {|line|
      var name = [(str:split "\t" $line)][0]
      if (eq $name :paths) {
        edit:complete-filename $words[-1]
      } else {
        put $name
      }
    })
  } elif (not-eq $cargo-xtask-other $nil) {
    $cargo-xtask-other $@words
  } else {
    put xtask build check clean doc fmt run test update
  }
}
