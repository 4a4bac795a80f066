# What follows `cargo xtask`, for fish. All else that cargo does is left to the completion that cargo has.
function __cargo_xtask_program
    set -l dir $PWD
    while test -n "$dir" -a "$dir" != /
        if test -x $dir/target/debug/xtask -a -d $dir/xtask
            echo $dir/target/debug/xtask
            return
        end
        set dir (string replace -r '/[^/]*$' '' -- $dir)
    end
    echo '@PROGRAM@'
end

function __cargo_xtask_is_meant
    set -l words (commandline -opc)
    set -l first 2
    string match -q '+*' -- $words[2]; and set first 3
    test (count $words) -ge $first; and test "$words[$first]" = xtask
end

function __cargo_xtask_answer
    set -l words (commandline -opc)
    set -l first 3
    string match -q '+*' -- $words[2]; and set first 4
    set -l current (commandline -ct)
    set -l program (__cargo_xtask_program)
    set -l found ($program completions -- $words[$first..-1] "$current" 2>/dev/null)
    if test "$found[1]" = :paths
        __fish_complete_path "$current"
    else
        printf '%s\n' $found
    end
end

complete -c cargo -n 'not __cargo_xtask_is_meant; and test (count (commandline -opc)) -eq 1' -a xtask -d 'Build the container images of this tree'
complete -c cargo -n __cargo_xtask_is_meant -f -k -a '(__cargo_xtask_answer)'
