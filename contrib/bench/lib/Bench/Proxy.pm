# The three proxies: where they are, how each is configured, started, reloaded.
package Bench::Proxy;

use strict;
use warnings;

use Bench::Child;
use Bench::Machine qw(read_file);

my %KIND = (
	haproxy => {
		suffix => 'cfg',
		search => ['/usr/sbin/haproxy', '/usr/local/sbin/haproxy'],
		version => ['-v'],
		# Master and worker, as Debian's unit runs it.
		start => sub { my ($conf) = @_; ('-W', '-db', '-f', $conf) },
		test => sub { my ($conf) = @_; ('-c', '-f', $conf) },
		reload => 'USR2',
	},
	nginx => {
		suffix => 'conf',
		search => ['/usr/sbin/nginx', '/usr/local/sbin/nginx'],
		version => ['-v'],
		start => sub { nginx_arguments(@_) },
		test => sub { ('-t', '-q', nginx_arguments(@_)) },
		reload => 'HUP',
	},
	steelyard => {
		suffix => 'conf',
		search => [],
		version => ['-V'],
		start => sub { my ($conf, undef, $modules) = @_; ('-c', $conf, @$modules) },
		test => sub { my ($conf, undef, $modules) = @_; ('-t', '-c', $conf, @$modules) },
		reload => 'HUP',
	},
);

sub nginx_arguments {
	my ($conf, $work) = @_;
	return ('-p', $work, '-e', "$work/error.log", '-c', $conf);
}

sub names {
	return qw(haproxy nginx steelyard);
}

# A proxy of that name; the program is looked for where Debian has it unless it is given.
sub new {
	my ($class, $name, $program) = @_;
	my $kind = $KIND{$name};
	($program) = grep { -x } @{ $kind->{search} } if !defined $program;
	return undef if !defined $program || !-x $program;
	# A steelyardd in its build folder has its modules there (make check-modules).
	my $modules = $program =~ s{[^/]+$}{t/modules}r;
	my @modules = $name eq 'steelyard' && -d $modules ? ('-m', $modules) : ();
	return bless { name => $name, program => $program, kind => $kind, modules => \@modules }, $class;
}

sub version {
	my ($self) = @_;
	my (undef, $said) = Bench::Child->run(10, $self->{program}, @{ $self->{kind}{version} });
	return $said =~ /(\d+\.\d+[-.\w]*)/ ? $1 : '?';
}

# The file with this proxy's configuration for the first of these purposes that it has one for, or undef:
# it cannot do that.
sub template {
	my ($self, $folder, @purposes) = @_;
	my ($file) = grep { -e } map { "$folder/$self->{name}-$_.$self->{kind}{suffix}" } @purposes;
	return $file;
}

# Fills in @NAME@ and repeats what is between "@repeat NAME FROM TO@" and "@end NAME@".
sub fill {
	my ($text, %value) = @_;
	while ($text =~ /^\@repeat (\w+) (\d+) (\d+)\@\n(.*?)^\@end \1\@\n/ms) {
		my ($start, $length, $name, $from, $to, $body) = ($-[0], $+[0] - $-[0], $1, $2, $3, $4);
		substr($text, $start, $length) = join '', map { $body =~ s/\@$name\@/$_/gr } $from .. $to;
	}
	my ($unknown) = grep { !defined $value{$_} } $text =~ /\@([A-Z_]+)\@/g;
	die "a configuration wants \@$unknown\@, which nobody knows\n" if defined $unknown;
	$text =~ s/\@([A-Z_]+)\@/$value{$1}/g;
	return $text;
}

# nginx has its stream module built in, or in a file of its own as Debian does.
sub load_stream {
	my ($self) = @_;
	my (undef, $said) = Bench::Child->run(10, $self->{program}, '-V');
	return '' if $said !~ /--with-stream=dynamic/;
	my ($folder) = $said =~ /--modules-path=(\S+)/;
	return "load_module $folder/ngx_stream_module.so;";
}

# Writes the configuration into the work folder.
sub configure {
	my ($self, $template, $work, %value) = @_;
	$value{LOAD_STREAM} //= $self->load_stream if $self->{name} eq 'nginx';
	$self->{conf} = "$work/$self->{name}.$self->{kind}{suffix}";
	$self->{work} = $work;
	open my $out, '>', $self->{conf} or die "bench: $self->{conf}: $!\n";
	print $out fill(read_file($template), WORK => $work, %value);
	close $out or die "bench: $self->{conf}: $!\n";
}

sub arguments {
	my ($self, $purpose) = @_;
	return $self->{kind}{$purpose}->(@$self{qw(conf work modules)});
}

# Asks the proxy itself whether the configuration is good: undef, or its words.
sub refuses {
	my ($self) = @_;
	my ($status, $said) =
		Bench::Child->run(60, $self->{program}, $self->arguments('test'));
	return undef if defined $status && $status == 0;
	$said =~ s/\Q$self->{work}\E\///g;
	return $said =~ /\S/ ? $said : 'no reason given (status ' . ($status // 'none, too late') . ')';
}

sub start {
	my ($self, $cpu) = @_;
	$self->{log} = "$self->{work}/$self->{name}.log";
	$self->{child} = Bench::Child->start(
		argv => [$self->{program}, $self->arguments('start')],
		cpu => $cpu, stdout => $self->{log}, stderr => $self->{log});
}

sub reload {
	my ($self) = @_;
	$self->{child}->signal($self->{kind}{reload});
}

# The last things it said, for an error message.
sub last_words {
	my ($self) = @_;
	my $said = join '', map { read_file($_) // '' } $self->{log}, "$self->{work}/error.log";
	my @lines = split /\n/, $said;
	return join ' | ', @lines > 3 ? @lines[-3 .. -1] : @lines;
}

sub stop {
	my ($self) = @_;
	return if !$self->{child};
	$self->{child}->signal('TERM');
	$self->{child}->finish(3);
}

1;
