# Rows of the page that is open: names, kinds, texts.
_lading_read() {
  local name kind text
  names=() kinds=() texts=()
  while IFS=$'\t' read -r name kind text; do
    names+=("$name") kinds+=("$kind") texts+=("$text")
  done
}

# The page of what follows these words.
_lading_open() {
  case $1 in
@TABLE@
    *) names=() kinds=() texts=() ;;
  esac
}

# REPLY: the kind in the row of that name, or nothing.
_lading_kind() {
  local i
  REPLY=
  for ((i = 0; i < ${#names[@]}; i++)); do
    if [[ "${names[i]}" == "$1" ]]; then REPLY=${kinds[i]}; return; fi
  done
}

# REPLY: the kind of the value that an option waits for in the next word, or nothing. `-it` are two options, and in
# `-eA=1` the value is there already.
_lading_waits() {
  local rest=$1 letter
  if [[ "$rest" == --* ]]; then
    REPLY=
    [[ "$rest" == *=* ]] || _lading_kind "$rest"
  else
    rest=${rest#-}
    while [[ -n "$rest" ]]; do
      letter=${rest:0:1} rest=${rest:1}
      _lading_kind "-$letter"
      if [[ "$REPLY" != flag ]]; then
        [[ -z "$rest" ]] || REPLY=
        return
      fi
    done
  fi
  [[ "$REPLY" != flag ]] || REPLY=
}

# Ask the daemon, once and not for long; none is started for this.
_lading_ask() {
  LADING_AUTOSTART=0 command timeout 0.1 lading "${host[@]}" "$@" 2> /dev/null
}

_lading_names() {
  case $1 in
    containers | copies) _lading_ask ps -a --format '{{.Names}}' ;;
    running) _lading_ask ps --format '{{.Names}}' ;;
    paused) _lading_ask ps -f status=paused --format '{{.Names}}' ;;
    stopped) _lading_ask ps -a -f status=created -f status=exited --format '{{.Names}}' ;;
    images) _lading_ask images --format '{{.Repository}}:{{.Tag}}' ;;
    networks) _lading_ask network ls --format '{{.Name}}' ;;
    volumes) _lading_ask volume ls -q ;;
  esac
}

# Offer what begins with `current` among the values of these kinds; `before_value` is written before each.
_lading_values() {
  local left=$1 kind value before_value=$2
  while [[ -n "$left" ]]; do
    kind=${left%%+*}
    left=${left#"$kind"} left=${left#+}
    case $kind in
      =*)
        kind=${kind#=},
        while [[ -n "$kind" ]]; do
          _lading_offer "$before_value${kind%%,*}" ''
          kind=${kind#*,}
        done
        ;;
      files | directories) paths=$kind ;;
      text | host | flag | verb | -) ;;
      *)
        while IFS= read -r value; do
          [[ "$value" == *'<none>'* ]] && continue
          [[ "$kind" != copies ]] || value+=:
          _lading_offer "$before_value$value" ''
        done < <(_lading_names "$kind")
        ;;
    esac
  done
}

_lading_offer() {
  if [[ "$1" == "$current"* ]]; then offers+=("$1") meanings+=("$2"); fi
}

# Offer the rows whose names begin with `current`, by this pattern of kinds.
_lading_rows() {
  local i
  for ((i = 0; i < ${#names[@]}; i++)); do
    [[ "${texts[i]}" != '(hidden)' ]] || continue
    case $1 in
      verbs) [[ "${kinds[i]}" == verb ]] || continue ;;
      options) [[ "${names[i]}" == -* ]] || continue ;;
    esac
    _lading_offer "${names[i]}" "${texts[i]}"
  done
}

# In: `before`, the words between the program and the cursor, and `current`, the word at the cursor.
# Out: `offers` with their `meanings`, and in `paths` whether files or directories are wanted as well.
_lading_complete() {
  local spelling= word waits= ended= place=0
  local -a names kinds texts host
  _lading_open ''
  for word in "${before[@]}"; do
    if [[ -n "$waits" ]]; then
      [[ "$waits" != host ]] || host=(-H "$word")
      waits=
    elif [[ -z "$ended" && "$word" == -- ]]; then
      ended=1
    elif [[ -z "$ended" && "$word" == -?* ]]; then
      [[ "$word" != --host=* ]] || host=("$word")
      _lading_waits "$word"
      waits=$REPLY
    else
      _lading_kind "$word"
      if [[ "$place" == 0 && "$REPLY" == verb && "$spelling" != help ]]; then
        spelling=${spelling:+$spelling }$word
        _lading_open "$spelling"
      else
        place=$((place + 1))
        _lading_kind .
        [[ -z "$REPLY" ]] || ended=1
      fi
    fi
  done
  offers=() meanings=() paths=
  if [[ -n "$waits" ]]; then
    _lading_values "$waits" ''
  elif [[ -z "$ended" && "$current" == --*=* ]]; then
    _lading_kind "${current%%=*}"
    _lading_values "$REPLY" "${current%%=*}="
  elif [[ -z "$ended" && "$current" == -* ]]; then
    _lading_rows options
  else
    [[ "$place" != 0 ]] || _lading_rows verbs
    _lading_kind "$((place + 1))"
    [[ -n "$REPLY" ]] || _lading_kind '*'
    _lading_values "$REPLY" ''
  fi
}
