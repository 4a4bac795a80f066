# What follows `cargo xtask`, for zsh. All else that cargo does is left to the completion that cargo has.
_cargo_xtask_program() {
    local dir=$PWD
    while [[ -n $dir ]]; do
        if [[ -x $dir/target/debug/xtask && -d $dir/xtask ]]; then
            print -r -- "$dir/target/debug/xtask"
            return
        fi
        dir=${dir%/*}
    done
    print -r -- '@PROGRAM@'
}

_cargo_xtask() {
    local first=2
    [[ ${words[2]-} == +* ]] && first=3
    if [[ ${words[first]-} != xtask ]] || (( CURRENT <= first )); then
        (( CURRENT == first )) && compadd -- xtask
        if [[ -n ${_cargo_xtask_other-} ]]; then
            "$_cargo_xtask_other" "$@"
        else
            (( CURRENT == first )) && compadd -- add bench build check clean clippy doc fmt run test update
            return 0
        fi
        return
    fi
    local -a found plain described
    local line name about
    found=("${(@f)$("$(_cargo_xtask_program)" completions -- "${(@)words[first+1,CURRENT]}" 2>/dev/null)}")
    if [[ ${found[1]-} == :paths ]]; then
        _files
        return
    fi
    for line in $found; do
        [[ -n $line ]] || continue
        name=${line%%$'\t'*}
        about=${line#*$'\t'}
        described+=("${name//:/\\:}${about:+:$about}")
    done
    (( $#described )) && _describe -V 'cargo xtask' described
}

# The completion that cargo has, if it has one, was found by compinit.
_cargo_xtask_other=${_comps[cargo]-}
[[ $_cargo_xtask_other == _cargo_xtask ]] && _cargo_xtask_other=''
compdef _cargo_xtask cargo
