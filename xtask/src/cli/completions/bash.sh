# What follows `cargo xtask`, for bash. All else that cargo does is left to the completion that cargo has.
_cargo_xtask_program() {
    local dir=$PWD
    while [[ -n $dir ]]; do
        if [[ -x $dir/target/debug/xtask && -d $dir/xtask ]]; then
            printf '%s\n' "$dir/target/debug/xtask"
            return
        fi
        dir=${dir%/*}
    done
    printf '%s\n' '@PROGRAM@'
}

_cargo_xtask() {
    local first=1
    [[ ${COMP_WORDS[1]-} == +* ]] && first=2
    if [[ ${COMP_WORDS[first]-} != xtask ]] || ((COMP_CWORD <= first)); then
        if [[ -n ${_cargo_xtask_other-} ]] && declare -F "$_cargo_xtask_other" >/dev/null; then
            "$_cargo_xtask_other" "$@"
            # Its own commands are cargo's to name; this one is ours.
            if ((COMP_CWORD == first)) && [[ xtask == "${COMP_WORDS[first]-}"* ]]; then COMPREPLY+=(xtask); fi
        elif ((COMP_CWORD == first)); then
            mapfile -t COMPREPLY < <(compgen -W 'add bench build check clean clippy doc fetch fix fmt init install metadata new publish remove run search test tree update version xtask' -- "${COMP_WORDS[first]-}")
        fi
        return 0
    fi
    local -a words=("${COMP_WORDS[@]:first+1:COMP_CWORD-first}") found=()
    local line
    # The first word of a word list that ends in an empty word may be missing.
    ((${#words[@]})) || words=('')
    mapfile -t found < <("$(_cargo_xtask_program)" completions -- "${words[@]}" 2>/dev/null)
    COMPREPLY=()
    if [[ ${found[0]-} == :paths ]]; then
        compopt -o default 2>/dev/null
        return 0
    fi
    # bash completes what follows the last `=` of a word.
    local current=${words[${#words[@]}-1]} before=''
    [[ $current == '=' ]] && current=''
    for line in "${found[@]}"; do
        line=${line%%$'\t'*}
        case $line in
        --*=*) if [[ $COMP_WORDBREAKS == *=* ]]; then before=${line%%=*}=; line=${line#"$before"}; fi ;;
        esac
        COMPREPLY+=("$line")
    done
    return 0
}

# The completion that cargo has may come later, with the first TAB (bash-completion loads lazily): it is asked for now.
if ! complete -p cargo >/dev/null 2>&1; then
    if declare -F _comp_load >/dev/null; then
        _comp_load cargo 2>/dev/null
    elif declare -F _completion_loader >/dev/null; then
        _completion_loader cargo 2>/dev/null
    fi
fi
_cargo_xtask_other=$(complete -p cargo 2>/dev/null | sed -n 's/.*-F \([^ ]*\) .*/\1/p')
[[ $_cargo_xtask_other == _cargo_xtask || $_cargo_xtask_other == _minimal ]] && _cargo_xtask_other=''
complete -F _cargo_xtask -o bashdefault -o nosort cargo 2>/dev/null || complete -F _cargo_xtask -o bashdefault cargo
