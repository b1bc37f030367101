# prove's harness, with one rule more: a test that is skipped must stand in t/accepted-skips (one
# regular expression a line, matched against "FILE: reason"), else the run fails. Skips are listed.
package TAP::Harness::Accepting;
use strict;
use warnings;
use parent 'TAP::Harness';

my %skipped;

sub accepted {
	my $file = ($ENV{STEELYARD_SRC} || '.') . '/t/accepted-skips';
	open my $in, '<', $file or return;
	return map { chomp; qr/$_/ } grep { /\S/ && !/^#/ } <$in>;
}

sub make_parser {
	my ($self, $job) = @_;
	my ($parser, $session) = $self->SUPER::make_parser($job);
	my $name = $job->description;
	$name =~ s{.*/t/}{t/};
	my $note = sub {
		my $result = shift;
		$skipped{"$name: " . ($result->explanation || 'no reason given')}++
			if $result->directive && $result->directive =~ /^skip/i;
	};
	$parser->callback(test => $note);
	$parser->callback(plan => $note);
	return ($parser, $session);
}

sub summary {
	my ($self, $aggregate, @rest) = @_;
	my @rules = accepted();
	my @refused;
	for my $skip (sort keys %skipped) {
		my $known = grep { $skip =~ $_ } @rules;
		print '# skipped', ($known ? '' : ', and not accepted'), ": $skip\n";
		push @refused, $skip unless $known;
	}
	if (@refused) {
		print "# FAILED: skips that t/accepted-skips does not name\n";
		$ENV{STEELYARD_REFUSED_SKIPS} = 1;
	}
	return $self->SUPER::summary($aggregate, @rest);
}

# prove looks at this for its exit status.
sub aggregate_tests {
	my ($self, $aggregate, @tests) = @_;
	my $result = $self->SUPER::aggregate_tests($aggregate, @tests);
	my @rules = accepted();
	for my $skip (keys %skipped) {
		next if grep { $skip =~ $_ } @rules;
		my $parser = TAP::Parser->new({ tap => "1..1\nnot ok 1 - skipped without leave: $skip\n" });
		$parser->run;
		$aggregate->add("unaccepted skip: $skip", $parser);
	}
	return $result;
}

1;
