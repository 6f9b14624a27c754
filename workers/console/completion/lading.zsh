#compdef lading
# Completion of lading for zsh. Made by `lading completion zsh`.

@CORE@

_lading() {
  local REPLY current=$PREFIX paths
  local -a before offers meanings shown
  before=("${(@)words[2,CURRENT-1]}")
  () { emulate -L ksh; _lading_complete }
  local i
  for i in {1..$#offers}; do
    shown+=("${offers[i]}${meanings[i]:+  -- ${meanings[i]}}")
  done
  if (( $#offers )); then
    if [[ ${offers[1]} == *: ]]; then
      compadd -S '' -- "${offers[@]}"
    else
      compadd -l -d shown -- "${offers[@]}"
    fi
  fi
  [[ $current != --*=* ]] || compset -P 1 '*='
  case $paths in
    files) _files ;;
    directories) _files -/ ;;
  esac
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _lading "$@"; else compdef _lading lading; fi
