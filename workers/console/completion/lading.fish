# Completion of lading for fish. Made by `lading completion fish`.

# Rows of what follows these words: name, kind and text.
function __lading_page
    switch "$argv[1]"
@TABLE@
    end
end

# The kind in the row of that name, or nothing.
function __lading_kind -a name
    for row in $rows
        set -l parts (string split \t -- $row)
        if test "$parts[1]" = "$name"
            echo $parts[2]
            return
        end
    end
end

# The kind of the value that an option waits for in the next word, or nothing.
function __lading_waits -a word
    if string match -q -- '--*' $word
        string match -q -- '*=*' $word; or __lading_kind $word | string match -v flag
        return
    end
    set -l letters (string split '' -- (string sub -s 2 -- $word))
    for i in (seq (count $letters))
        set -l kind (__lading_kind -$letters[$i])
        if test "$kind" != flag
            test $i -lt (count $letters); or echo $kind
            return
        end
    end
end

# Ask the daemon, once and not for long; none is started for this.
function __lading_ask
    LADING_AUTOSTART=0 command timeout 0.1 lading $host $argv 2>/dev/null
end

function __lading_names -a kind
    switch $kind
        case containers
            __lading_ask ps -a --format '{{.Names}}'
        case copies
            __lading_ask ps -a --format '{{.Names}}:'
        case running
            __lading_ask ps --format '{{.Names}}'
        case paused
            __lading_ask ps -f status=paused --format '{{.Names}}'
        case stopped
            __lading_ask ps -a -f status=created -f status=exited --format '{{.Names}}'
        case images
            __lading_ask images --format '{{.Repository}}:{{.Tag}}' | string match -v '*<none>*'
        case networks
            __lading_ask network ls --format '{{.Name}}'
        case volumes
            __lading_ask volume ls -q
    end
end

# The values of these kinds; `before` is written before each.
function __lading_values -a kinds before current
    for kind in (string split + -- $kinds)
        switch $kind
            case '=*'
                string replace -r '^' -- "$before" (string split , -- (string sub -s 2 -- $kind))
            case files
                string replace -r '^' -- "$before" (__fish_complete_path $current)
            case directories
                string replace -r '^' -- "$before" (__fish_complete_directories $current '')
            case '*'
                string replace -r '^' -- "$before" (__lading_names $kind)
        end
    end
end

# The rows whose names or kinds match, with their texts.
function __lading_rows -a what
    for row in $rows
        set -l parts (string split \t -- $row)
        test "$parts[3]" = '(hidden)'; and continue
        switch $what
            case verbs
                test "$parts[2]" = verb; or continue
            case options
                string match -q -- '-*' $parts[1]; or continue
        end
        echo $parts[1]\t$parts[3]
    end
end

function __lading_complete
    set -l before (commandline -opc)[2..-1]
    set -l current (commandline -ct)
    set -l spelling ''
    set -l waits ''
    set -l ended ''
    set -l place 0
    set -l -x host
    set -l -x rows (__lading_page '')
    for word in $before
        if test -n "$waits"
            test "$waits" = host; and set host -H $word
            set waits ''
        else if test -z "$ended"; and test "$word" = --
            set ended 1
        else if test -z "$ended"; and string match -qr -- '^-.' $word
            string match -q -- '--host=*' $word; and set host $word
            set waits (__lading_waits $word)
        else if test $place -eq 0; and test "$spelling" != help; and test "$(__lading_kind $word)" = verb
            set spelling (string trim -- "$spelling $word")
            set rows (__lading_page $spelling)
        else
            set place (math $place + 1)
            test -z "$(__lading_kind .)"; or set ended 1
        end
    end
    if test -n "$waits"
        __lading_values $waits '' $current
    else if test -z "$ended"; and string match -q -- '--*=*' $current
        set -l parts (string split -m 1 = -- $current)
        __lading_values (__lading_kind $parts[1]) "$parts[1]=" $parts[2]
    else if test -z "$ended"; and string match -q -- '-*' $current
        __lading_rows options
    else
        test $place -eq 0; and __lading_rows verbs
        set -l kind (__lading_kind (math $place + 1))
        test -n "$kind"; or set kind (__lading_kind '*')
        test -z "$kind"; or __lading_values $kind '' $current
    end
end

complete -c lading -f -k -a '(__lading_complete)'
