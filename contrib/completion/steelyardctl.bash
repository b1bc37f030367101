# bash completion for steelyardctl: commands from its own usage text, names from the running daemon.

_steelyardctl_names() {
	steelyardctl --json "$1" 2>/dev/null |
		perl -MJSON::PP -0777 -ne 'my $d = eval { decode_json($_) } or exit;
			my %seen; print join "\n", grep { !$seen{$_}++ } map { $_->{name} } @{ $d->{$ARGV[0] // "'"$1"'"} }'
}

_steelyardctl() {
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} command= i
	COMPREPLY=()
	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-s | --socket | --service | --server | --client | --pool | --limit | --templates | --config | --for) ((i++)) ;;
		-*) ;;
		*) command=${COMP_WORDS[i]} && break ;;
		esac
	done
	case $prev in
	-s | --socket | --config) COMPREPLY=($(compgen -f -- "$cur")) && return ;;
	--service) COMPREPLY=($(compgen -W "$(_steelyardctl_names services)" -- "$cur")) && return ;;
	--server) COMPREPLY=($(compgen -W "$(_steelyardctl_names servers)" -- "$cur")) && return ;;
	esac
	if [[ $cur == -* ]]; then
		COMPREPLY=($(compgen -W "--socket --json --service --server --client --pool --limit --templates --config --for --decrypted --ended --help --version" -- "$cur"))
		return
	fi
	case $command in
	'') COMPREPLY=($(compgen -W "$(steelyardctl --help | sed -n 's/^  \([a-z-]*\) .*/\1/p')" -- "$cur")) ;;
	services | explain | trace) COMPREPLY=($(compgen -W "$(_steelyardctl_names services)" -- "$cur")) ;;
	servers | drain | disable | enable | weight)
		COMPREPLY=($(compgen -W "$(_steelyardctl_names servers)" -- "$cur")) ;;
	persistence) COMPREPLY=($(compgen -W "list clear" -- "$cur")) ;;
	template) COMPREPLY=($(compgen -W "list show $(steelyardctl template list 2>/dev/null | cut -d' ' -f1)" -- "$cur")) ;;
	import) COMPREPLY=($(compgen -W "haproxy loadmaster" -f -- "$cur")) ;;
	show) COMPREPLY=($(compgen -W "config" -- "$cur")) ;;
	stop) COMPREPLY=($(compgen -W "graceful now" -- "$cur")) ;;
	log-level) COMPREPLY=($(compgen -W "err warn info debug" -- "$cur")) ;;
	esac
}

complete -F _steelyardctl steelyardctl
