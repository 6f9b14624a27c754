# Completion of lading for bash. Made by `lading completion bash`.

@CORE@

_lading() {
  local REPLY current rest=$COMP_LINE word paths i
  local -a before offers meanings
  # Bash divides words at `:` and `=` too; the words of a person are divided by blanks.
  for ((i = 0; i <= COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    if [[ $i == 0 || "$rest" == [[:blank:]]* ]]; then before+=("$word"); else before[${#before[@]} - 1]+=$word; fi
    rest=${rest#"${rest%%[![:blank:]]*}"}
    rest=${rest#"$word"}
  done
  current=${before[${#before[@]} - 1]}
  before=("${before[@]:1:${#before[@]} - 2}")
  _lading_complete
  if [[ -n "$paths" ]]; then
    compopt -o filenames 2> /dev/null
    word=$current
    [[ "$word" != --*=* ]] || word=${word#*=}
    while IFS= read -r rest; do offers+=("$rest"); done < <(compgen "-${paths:0:1}" -- "$word")
  fi
  # What is offered replaces only what follows the last `:` or `=`.
  word=${current%"${current##*[:=]}"}
  COMPREPLY=("${offers[@]#"$word"}")
  [[ "${COMPREPLY[*]}" != *: ]] || compopt -o nospace 2> /dev/null
}

complete -F _lading lading
