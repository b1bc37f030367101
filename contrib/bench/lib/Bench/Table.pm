# From the figures of all rounds to a table that can be read.
package Bench::Table;

use strict;
use warnings;

use List::Util qw(max min sum);

# What depends on nobody else using the machine. The rest is the proxy's own CPU, memory and errors.
my %NEEDS_CALM = map { $_ => 1 } qw(rate machine_us p50_us p99_us machine_each reload_ms reload_max_ms);

# A median would hide the one round in which something failed or took long.
my %OVER_ROUNDS = (failed => \&sum, reload_max_ms => \&max);

sub median {
	my @sorted = sort { $a <=> $b } @_;
	return undef if !@sorted;
	return @sorted % 2 ? $sorted[$#sorted / 2] : ($sorted[@sorted / 2 - 1] + $sorted[@sorted / 2]) / 2;
}

# Between which two of the figures their true median lies, with a confidence of 95 percent, whatever their
# distribution is (the sign test turned round): with up to eight figures the extremes.
sub median_within {
	my @sorted = sort { $a <=> $b } @_;
	my ($outside, $term, $cut) = (0, 2 * 0.5 ** @sorted, 0);
	while ($cut < $#sorted / 2 && ($outside += $term) <= 0.05) {
		$term *= (@sorted - $cut) / ($cut + 1);
		$cut++;
	}
	my $at = max($cut - 1, 0);
	return @sorted[$at, $#sorted - $at];
}

# Half of the distance of the extremes, in percent of the median.
sub spread {
	my $median = median(@_);
	return @_ < 2 || !$median ? 0 : 50 * (max(@_) - min(@_)) / abs $median;
}

sub number {
	my ($value) = @_;
	return '-' if !defined $value;
	my $digits = abs $value >= 100 || $value == int $value ? 0 : abs $value >= 10 ? 1 : 2;
	my $text = sprintf "%.${digits}f", $value;
	1 while $text =~ s/^(-?\d+)(\d{3})/$1,$2/;
	return $text;
}

# What all rounds of one proxy give: { median => {key => n}, spread => {key => percent}, rounds => [..],
# invalid/unsupported => why }.
sub summary {
	my (@cells) = @_;
	my %summary = (cells => \@cells);
	for my $cell (@cells) {
		$summary{$_} //= $cell->{$_}
			for grep { defined $cell->{$_} } qw(invalid unsupported last_words);
	}
	return \%summary if $summary{invalid} || $summary{unsupported};
	for my $key (grep { !ref $cells[0]{$_} } keys %{ $cells[0] }) {
		my @values = map { $_->{$key} } grep { defined $_->{$key} } @cells;
		next if grep { !/^-?[\d.]+(e[-+]?\d+)?$/i } @values;
		my $whole = $OVER_ROUNDS{$key};
		$summary{median}{$key} = $whole ? $whole->(@values) : median(@values);
		$summary{spread}{$key} = spread(@values) if !$whole;
	}
	return \%summary;
}

# Steelyard's figure against the best peer's, round by round (cells of one round ran one after the other,
# so what the machine did meanwhile hits both): { peer, ratio, low, high, word }.
sub compare {
	my ($column, $own, %peer) = @_;
	my ($key, $better) = ($column->[0], $column->[2]);
	my @peers = sort grep { defined $peer{$_}{median} && defined $peer{$_}{median}{$key} } keys %peer;
	return undef if !$better || !@peers || !defined $own->{median} || !defined $own->{median}{$key};
	my ($lowest, $highest) = (sort {
		$peer{$a}{median}{$key} <=> $peer{$b}{median}{$key} || $a cmp $b
	} @peers)[0, -1];
	my $best = $better eq 'low' ? $lowest : $highest;
	# The best peer's figure may be 0 (failures, say).
	return { peer => $best, equal => $own->{median}{$key} == 0, zero => 1 } if !$peer{$best}{median}{$key};
	my @ratios = $OVER_ROUNDS{$key} ? $own->{median}{$key} / $peer{$best}{median}{$key}
		: map { $own->{cells}[$_]{$key} / $peer{$best}{cells}[$_]{$key} }
		grep { $peer{$best}{cells}[$_]{$key} } 0 .. $#{ $own->{cells} };
	my ($low, $high) = median_within(@ratios);
	return { peer => $best, ratio => median(@ratios), low => $low, high => $high,
		word => verdict($low, $high, 1, $better eq 'low' ? qw(ahead behind) : qw(behind ahead)) };
}

# Whether the ratio is below that limit, or above it; else the rounds do not decide.
sub verdict {
	my ($low, $high, $limit, $below, $above) = @_;
	return $high < $limit ? $below : $low > $limit ? $above : 'undecided';
}

sub cell_text {
	my ($summary, $key) = @_;
	my $value = $summary->{median}{$key};
	return '-' if !defined $value;
	my $spread = $summary->{spread}{$key};
	return number($value) if !defined $spread || @{ $summary->{cells} } < 2;
	return number($value) . sprintf ' ±%.0f%%', $spread;
}

# Percent of the machine that was not there for the measurement.
sub disturbance {
	my ($cell) = @_;
	return max($cell->{foreign} // 0, $cell->{steal} // 0);
}

sub wrap {
	my ($text) = @_;
	$text =~ s/\s+/ /g;
	$text = substr($text, 0, 237) . '...' if length $text > 240;
	my $lines = '';
	$lines .= "               $1\n" while $text =~ s/^\s*(.{1,80})(?:\s|$)//;
	return $lines;
}

sub goal_text {
	my ($workload, $comparison) = @_;
	my ($ratio, $goal) = ($comparison->{ratio}, $workload->{goal});
	return '' if !$goal || !defined $ratio;
	my ($most, $aim) = map { verdict(@$comparison{qw(low high)}, $_, 'reached', 'missed') } @$goal;
	return sprintf ' (at most %.2f: %s; aim %.2f: %s)', $goal->[0], $most, $goal->[1], $aim;
}

sub ratio_lines {
	my ($workload, $summary, $disturbed) = @_;
	my $own = $summary->{steelyard} or return '';
	my %peer = map { $_ => $summary->{$_} } grep { $summary->{$_} } qw(haproxy nginx);
	my $text = '';
	for my $column (@{ $workload->{columns} }) {
		my $c = compare($column, $own, %peer) or next;
		my $goal = $column->[0] eq $workload->{judged} ? goal_text($workload, $c) : '';
		$c->{word} = 'disturbed' if $disturbed && $NEEDS_CALM{ $column->[0] };
		if ($c->{zero}) {
			$text .= sprintf "  %-12s best peer %s has 0: %s\n", $column->[1], $c->{peer},
				$c->{equal} ? 'even' : 'behind';
			next;
		}
		$text .= sprintf "  %-12s %.2f of %s (%.2f to %.2f): %s%s\n", $column->[1],
			@$c{qw(ratio peer low high word)}, $goal;
	}
	return $text ? "  steelyard / best peer\n$text" : '';
}

# The table of one workload; $summary is { proxy => summary(...) }. Rows with a measurement that was
# disturbed by more than so many percent are marked.
sub workload {
	my ($workload, $summary, $disturbed, @proxies) = @_;
	my $worst = 0;
	my @columns = @{ $workload->{columns} };
	my $text = sprintf "%s: %s (unit: %s)\n", $workload->{name}, $workload->{title}, $workload->{unit};
	$text .= sprintf '  %-12s' . ' %14s' x @columns . "\n", '', map { $_->[1] } @columns;
	for my $proxy (grep { $summary->{$_} } @proxies) {
		my $s = $summary->{$proxy};
		if ($s->{unsupported}) {
			my $ours = $proxy eq 'steelyard';
			$text .= sprintf "  %-12s %s\n", $proxy, $ours ? 'not yet' : $s->{unsupported};
			$text .= wrap($s->{unsupported}) if $ours;
		} elsif ($s->{invalid}) {
			$text .= sprintf "  %-12s INVALID\n%s", $proxy, wrap($s->{invalid});
			$text .= wrap("its last words: $s->{last_words}") if $s->{last_words};
		} else {
			# "±" is two bytes.
			my $most = max(map { disturbance($_) } @{ $s->{cells} });
			$worst = max($worst, $most);
			my $mark = $most > $disturbed ? ' !' : '';
			$text .= sprintf "  %-12s%s\n", "$proxy$mark", join '', map {
				my $cell = cell_text($s, $_->[0]);
				' ' . ' ' x max(0, 14 - length($cell) + ($cell =~ /\xc2/ ? 1 : 0)) . $cell
			} @columns;
		}
	}
	$text .= sprintf "  ! others used up to %.0f %% of the machine meanwhile: rates, times and figures of"
		. " the machine\n    say nothing; the proxy's CPU says something, its memory is right\n", $worst
		if $worst > $disturbed;
	return $text . ratio_lines($workload, $summary, $worst > $disturbed) . "\n";
}

# System calls for each unit, proxy by proxy.
sub calls {
	my ($workload, $summary, @proxies) = @_;
	my $text = sprintf "%s: system calls per %s\n", $workload->{name}, $workload->{unit};
	for my $proxy (grep { $summary->{$_} && $_ ne 'direct' } @proxies) {
		my $s = $summary->{$proxy};
		if ($s->{unsupported} || $s->{invalid}) {
			$text .= sprintf "  %-10s %s\n", $proxy, $s->{invalid} ? "INVALID: $s->{invalid}"
				: $proxy eq 'steelyard' ? 'not yet' : $s->{unsupported};
			next;
		}
		my $calls = $s->{cells}[-1]{calls};
		my $sum = 0;
		$sum += $_ for values %$calls;
		my @names = sort { $calls->{$b} <=> $calls->{$a} || $a cmp $b }
			grep { $calls->{$_} >= 0.005 } keys %$calls;
		$text .= sprintf "  %-10s %6.2f\n", $proxy, $sum;
		$text .= wrap(join ', ', map { sprintf '%s %.2f', $_, $calls->{$_} } @names);
	}
	return "$text\n";
}

1;
